"""Reports and agreement studies, from records to figures to one page that needs nothing else. No web framework in here."""
