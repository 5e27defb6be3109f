"""Every error that the inspector raises on purpose. Messages say the fact, the reason and the next step.

    InspectorError
    ├── ConfigError            a line file, recipe or command-line value is wrong
    ├── FrameError             a frame cannot be judged; carries the `Reason` of its UNKNOWN verdict
    ├── BundleError            a bundle is not what it should be
    │   ├── BundleTampered     a file is missing, extra, or its hash differs
    │   ├── BundleVersionError written for another schema version
    │   ├── BundleUntrusted    not signed by a key that the line trusts
    │   └── GoldenMismatch     this machine does not reproduce the recorded scores
    ├── EngineError            a provider is missing, or the model raised
    │   ├── TooLate            the part would not be judged by its deadline
    │   └── Interrupted        nobody waits for the scores of this part any more
    ├── SessionError           a camera client broke the protocol
    │   ├── UnknownCamera      no station of this line has that camera
    │   ├── CameraBusy         another client streams as that camera
    │   └── TriggerOutOfRange  a trigger number that cannot be of this line's counting
    ├── SourceError            a camera or another source of frames cannot be used, or is gone
    ├── InvalidRequest         a request that the API does not allow
    ├── AccessDenied           a client that may not do what it asks for
    ├── AccessError            a certificate, key or revocation list that cannot be used
    ├── PromotionRefused       a bundle may not take over; what judged before goes on judging
    │   └── PromotionOvertaken another promotion came first, or runs
    ├── Overloaded             more clients, or more unread answers, than the service holds
    ├── ServiceStopping        the service is being stopped
    ├── ServiceUnreachable     the service did not answer a client of the house
    ├── SignalError            an output to the PLC cannot start
    ├── RecordsError           journal, quality database or image store
    │   ├── JournalError       the journal cannot be read or written
    │   ├── StoreUnavailable   the quality database does not answer
    │   ├── SchemaOutdated     the database needs `inspector db upgrade`, or is newer than this program
    │   ├── RecordRejected     the quality database refuses a value; trying again will not help
    │   ├── LabelInvalid       a label says what no label can say
    │   ├── EditConflict       what a person edits was changed by another meanwhile
    │   ├── ClaimLost          a part that a person reviews is another's by now
    │   ├── PageTokenInvalid   not a token from the page before, or of another query
    │   ├── AuditError         the audit log cannot be read or written, or was changed
    │   ├── ImageStoreError    a picture cannot be written or read
    │   └── NotFound           no such inspection or picture
    └── DataError              training images, labels or masks are wrong

Foreign exceptions (gRPC, SQLAlchemy, ONNX Runtime, OpenCV) are translated into these where they enter.
"""

from __future__ import annotations

from inspector.part import Reason


class InspectorError(Exception):
    """Root of all errors that the inspector raises on purpose."""


class ConfigError(InspectorError):
    """A line file, recipe or command-line value is wrong."""


class FrameError(InspectorError):
    """A frame cannot be judged; `reason` becomes its UNKNOWN verdict."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BundleError(InspectorError):
    """A bundle is not what it should be."""


class BundleTampered(BundleError):
    """A file of the bundle is missing, extra, or its hash differs from the manifest."""


class BundleVersionError(BundleError):
    """The bundle was written for another schema version."""


class BundleUntrusted(BundleError):
    """No key that the line trusts has signed the bundle."""


class GoldenMismatch(BundleError):
    """This machine does not reproduce the scores recorded for the golden images: `failed` of `checked`."""

    def __init__(self, message: str, checked: int = 0, failed: int = 0) -> None:
        super().__init__(message)
        self.checked, self.failed = checked, failed


class EngineError(InspectorError):
    """An execution provider is missing, or the model raised."""


class TooLate(EngineError):
    """More is offered than can be judged: this part would not be by its deadline."""


class Interrupted(EngineError):
    """Nobody waits for the scores of this part any more: its verdict was settled while it was judged."""


class SessionError(InspectorError):
    """A camera client broke the protocol."""


class UnknownCamera(SessionError):
    """No station of this line has that camera."""


class CameraBusy(SessionError):
    """Another client streams as that camera."""


class TriggerOutOfRange(SessionError):
    """A trigger number that cannot be of this line's counting."""


class SourceError(InspectorError):
    """A camera or another source of frames cannot be used, or is gone."""


class InvalidRequest(InspectorError):
    """A request that the API does not allow."""


class AccessDenied(InspectorError):
    """A client may not do what it asks for."""


class AccessError(InspectorError):
    """A certificate, key or revocation list that cannot be used."""


class PromotionRefused(InspectorError):
    """A bundle may not take over a recipe; what judged before goes on judging."""


class PromotionOvertaken(PromotionRefused):
    """Another promotion came first, or runs: look at what judges now."""


class Overloaded(InspectorError):
    """More clients, or more unread answers, than the service holds."""


class ServiceStopping(InspectorError):
    """The service is being stopped."""


class ServiceUnreachable(InspectorError):
    """The service did not answer a client of the house."""


class SignalError(InspectorError):
    """An output to the PLC cannot start."""


class RecordsError(InspectorError):
    """Journal, quality database or image store."""


class JournalError(RecordsError):
    """The journal cannot be read or written."""


class StoreUnavailable(RecordsError):
    """The quality database does not answer."""


class SchemaOutdated(RecordsError):
    """The database needs `inspector db upgrade`, or is newer than this program."""


class RecordRejected(RecordsError):
    """The quality database refuses a value; trying again will not help."""


class LabelInvalid(RecordsError):
    """A label says what no label can say."""


class EditConflict(RecordsError):
    """What a person edits was changed by another meanwhile."""


class ClaimLost(RecordsError):
    """A part that a person reviews is another's by now."""


class PageTokenInvalid(RecordsError):
    """Not a token from the page before, or of another query."""


class AuditError(RecordsError):
    """The audit log cannot be read or written, or was changed."""


class ImageStoreError(RecordsError):
    """A picture cannot be written or read."""


class NotFound(RecordsError):
    """No such inspection or picture."""


class DataError(InspectorError):
    """Training images, labels or masks are wrong."""
