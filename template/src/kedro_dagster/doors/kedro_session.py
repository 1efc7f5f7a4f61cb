"""The session of a project, of its own class, under the identity of a run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from inspect import getattr_static
from pathlib import Path
from typing import Any

from kedro.framework.project import settings
from kedro.framework.session import KedroSession, session

from ..errors import KedroDagsterError
from .fallback import needed, replaced

KEDRO = "kedro"

_one_at_a_time = threading.RLock()


def session_class() -> type[KedroSession]:
    """The project's ``SESSION_CLASS``, where Kedro knows it; refuse what is no KedroSession."""
    known = hasattr(type(settings), "_SESSION_CLASS")
    kind: type[KedroSession] = settings.SESSION_CLASS if known else KedroSession
    if not issubclass(kind, KedroSession):
        raise KedroDagsterError(
            f"SESSION_CLASS of settings.py: {kind.__name__} is not derived from KedroSession, and "
            "cannot carry the identity and the parameters of a run into each of its processes. "
            "Derive it from kedro.framework.session.KedroSession, or leave SESSION_CLASS out."
        )
    return kind


def unused_methods() -> list[str]:
    """What a session class has of its own that no run on Dagster calls."""
    kind = session_class()
    return [] if kind.run is KedroSession.run else [f"{kind.__name__}.run"]


def make_session(
    identity: str,
    project_path: str,
    package_name: str,
    conf_source: str,
    options: Mapping[str, Any],
) -> KedroSession:
    """Make a session as ``kedro run`` does, but with an identity that there is, and without git."""
    kind = session_class()
    if getattr_static(kind, "create") is getattr_static(KedroSession, "create"):
        made = kind(
            session_id=identity,
            package_name=package_name,
            project_path=project_path,
            save_on_close=True,
            conf_source=conf_source,
        )
        needed(KEDRO, made, "_store").update(
            project_path=Path(project_path).resolve(),
            session_id=made.session_id,
            **{name: value for name, value in options.items() if value},
        )
    else:  # of its own: it is called, as by ``kedro run``
        no_id, asked = "a session has an identity of its own", "each process of a run asks git"
        with (
            _one_at_a_time,
            replaced(KEDRO, no_id, session, "generate_timestamp", lambda _: lambda: identity),
            replaced(KEDRO, asked, session, "_describe_git", lambda _: lambda _: {}),
        ):
            made = kind.create(project_path=project_path, conf_source=conf_source, **options)
    if made.session_id != identity:
        raise KedroDagsterError(
            f"SESSION_CLASS of settings.py: {kind.__name__} makes a session with an identity of "
            f"its own, {made.session_id!r}, and cannot carry that of the run into each of its "
            "processes. Leave session_id to KedroSession.create and KedroSession.__init__."
        )
    return made
