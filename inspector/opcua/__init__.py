"""OPC UA in the shape of OPC 40100-1 Machine Vision, as a process of its own that is a client of the service."""
