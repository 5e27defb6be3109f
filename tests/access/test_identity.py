"""What a certificate's names let its holder do: no more than they say, and nothing if one of them is not understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.access.identity import Role, camera_uri, identity_of_certificate, identity_of_uris, role_uri
from inspector.errors import AccessDenied

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)


@given(NAMES, st.lists(NAMES, max_size=4), st.sampled_from(list(Role)[1:]))
def test_what_is_written_is_read(line: str, cameras: list[str], role: Role) -> None:
    found = identity_of_uris("x", [*(camera_uri(line, camera) for camera in cameras), role_uri(role)], 7)
    assert found.cameras == {(line, camera) for camera in cameras}
    assert (found.role, found.serial) == (role, 7)


@given(st.text(max_size=80))
def test_any_other_name_gives_no_right(text: str) -> None:
    found = identity_of_uris("x", ["urn:other:" + text])
    assert (found.cameras, found.role) == (frozenset(), Role.NONE)


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("urn:inspector:camera:a", id="no camera"),
        pytest.param("urn:inspector:camera:a:b:c", id="one name too many"),
        pytest.param("urn:inspector:camera:a:*", id="a wildcard"),
        pytest.param("urn:inspector:camera::b", id="no line"),
        pytest.param("urn:inspector:role:root", id="a role that does not exist"),
        pytest.param("urn:inspector:role:none", id="the role of nobody is no right, and harmless"),
        pytest.param("urn:inspector:role:Viewer", id="another spelling"),
        pytest.param("urn:inspector:tenant:x", id="a right of a later version"),
    ],
)
def test_a_name_of_ours_that_is_not_understood_gives_no_right_at_all(uri: str) -> None:
    if uri.endswith(":none"):
        assert identity_of_uris("x", [uri]).role is Role.NONE
        return
    with pytest.raises(AccessDenied, match="does not know"):
        identity_of_uris("x", [camera_uri("a", "b"), uri])


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_no_certificate(data: bytes) -> None:
    with pytest.raises(AccessDenied):
        identity_of_certificate(data)
