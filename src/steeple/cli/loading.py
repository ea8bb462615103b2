"""Loads what the user points at: the settings of the environment, and the app that ``MODULE:APP`` names."""

import importlib
import os
import sys
import traceback
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from steeple.cli.exits import ExitCode
from steeple.cli.faults import CommandFailed
from steeple.errors import ConfigurationError
from steeple.settings import Settings

if TYPE_CHECKING:
    # At run time only where an app is loaded: it brings the database's libraries, which most commands do without.
    from steeple.app import Steeple


def load_settings(**overrides: Any) -> Settings:
    """The settings of the environment; options that were given (not None) go first. Raises ``ConfigurationError``."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise ConfigurationError("\n".join(_lines(error))) from None
    except OSError as error:
        message = f"cannot read {error.filename}, which a STEEPLE_…_FILE variable names: {error.strerror}"
        raise ConfigurationError(message) from error
    return settings.model_copy(update={name: value for name, value in overrides.items() if value is not None})


def load_app(target: str) -> "Steeple":
    """The app that ``target`` names, such as ``tasks:app``; modules of the working directory come first."""
    from steeple.app import Steeple

    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise _usage(f"{target!r} does not name an app: write MODULE:APP, for example tasks:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module = _import(module_name)
    try:
        app = attrgetter(attribute)(module)
    except AttributeError:
        raise _usage(f"module {module_name!r} has no {attribute!r}{_suggestion(module)}") from None
    if not isinstance(app, Steeple):
        raise _usage(f"{target} is a {type(app).__name__}, not a Steeple app{_suggestion(module)}")
    return app


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(name) from error
        where = f"looked in {os.getcwd()} and Python's path"
        raise _usage(f"no module named {error.name!r}: {where}; run steeple where the module is") from None
    except (ImportError, SyntaxError) as error:
        raise _broken(name) from error


def _broken(name: str) -> CommandFailed:
    # The fault is in the user's own code, below this import: only its traceback says where.
    traceback.print_exc()
    return _usage(f"module {name!r} cannot be imported; its traceback is above")


def _suggestion(module: ModuleType) -> str:
    from steeple.app import Steeple

    apps = [f"{module.__name__}:{name}" for name, value in vars(module).items() if isinstance(value, Steeple)]
    return f"; it has {', '.join(apps)}" if apps else "; make one there with: app = Steeple()"


def _usage(message: str) -> CommandFailed:
    return CommandFailed(message, ExitCode.USAGE)


def _lines(error: ValidationError) -> list[str]:
    # Without its input: that may be a secret.
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return [": ".join([*(_variable(str(name)) for name in fault["loc"][:1]), fault["msg"]]) for fault in faults]


def _variable(name: str) -> str:
    """The environment variable of a setting; Pydantic names a setting with aliases by the variable itself."""
    return f"STEEPLE_{name.upper()}" if name in Settings.model_fields else name
