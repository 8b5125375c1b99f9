"""Reading the configuration (spec 06, *Configuration*).

The sources of a setting, in the order of precedence: the environment variable ``MENSAGOD_TABLE__KEY``, the
configuration file, for a secret the credentials of systemd
(``LoadCredential=database.password:/some/file``), and the default. A secret such as ``database.password`` can
also be kept in its own file, which ``password_file`` in the configuration or the variable
``MENSAGOD_DATABASE__PASSWORD_FILE`` names.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import Factory, define, evolve

from mensagod.config.contradictions import contradictions, warnings
from mensagod.config.faults import ConfigFaults, FaultCode, Findings, Place, show
from mensagod.config.keys import Key
from mensagod.config.names import IGNORED, SECRET_FILES, SYNONYMS
from mensagod.config.secret import HIDDEN
from mensagod.config.sources import (
    Setting,
    open_to_others,
    read_document,
    read_environment,
    read_secret,
)
from mensagod.config.tree import DEFAULT_PATH, KEYS, TABLES, Config, attribute_of
from mensagod.config.values import FilePath, Kind, parse_variable
from mensagod.errors import BadValue
from mensagod.values.identity import Domain

#: A placeholder for a missing or faulty domain, so that the rest can be checked. No configuration is returned
#: with it.
_NO_DOMAIN = Domain.from_text("invalid")


def configuration_path(environ: Mapping[str, str], option: Path | None = None) -> Path:
    """Give the file to read: the ``--config`` option, else ``MENSAGOD_CONFIG``, else the default."""
    return option or Path(environ.get("MENSAGOD_CONFIG") or DEFAULT_PATH)


def load(
    path: Path, environ: Mapping[str, str], *, text: str | None = None, credentials: Path | None = None
) -> Config:
    """Read a configuration from its file and the environment.

    :param environ: the environment, such as ``os.environ``.
    :param text: the content of the file, if this process has just written it: others may have changed the
        file since.
    :param credentials: a directory with a file ``table.key`` for each secret; the default is
        ``CREDENTIALS_DIRECTORY``, which systemd sets.
    :raises ConfigFaults: with every fault that was found.
    """
    path = path.absolute()
    if credentials is None and environ.get("CREDENTIALS_DIRECTORY"):
        credentials = Path(environ["CREDENTIALS_DIRECTORY"])
    findings = Findings()
    document = read_document(path, findings, text)
    in_file = {} if document is None else dict(document.settings)
    loading = _Loading(path, findings)
    loading.collect(in_file, read_environment(environ, findings))
    loading.read_values()
    loading.read_secret_files(credentials)
    if document is None:
        raise ConfigFaults(findings.faults)
    config = loading.build(document.plugins)
    if findings.faults:
        raise ConfigFaults(findings.faults)
    return config


@define
class _Loading:
    """The state of one load.

    :ivar settings: the raw settings by ``table.key``.
    :ivar values: the parsed values by ``table.key``.
    """

    path: Path
    findings: Findings
    settings: dict[str, Setting] = Factory(dict)
    values: dict[str, object] = Factory(dict)

    def collect(self, in_file: Mapping[str, Setting], in_environment: Mapping[str, Setting]) -> None:
        """Merge the settings of the file and of the environment, which has precedence; rename synonyms."""
        self.settings = self._rename(in_file)
        holds_secret = any(KEYS[key].is_secret for key in self.settings if key in KEYS)
        for sentence in open_to_others(self.path, holds_secret=holds_secret):
            self.findings.warn(Place(self.path), sentence)
        for key, setting in self._rename(in_environment).items():
            # KEY and KEY_file are two ways to give one secret: the environment replaces either.
            self.settings.pop(SECRET_FILES.get(key, f"{key}_file"), None)
            self.settings[key] = setting

    def _rename(self, source: Mapping[str, Setting]) -> dict[str, Setting]:
        renamed: dict[str, Setting] = {}
        for key, setting in source.items():
            if key in IGNORED:
                self.findings.warn(setting.place, f"{key} has no effect: {IGNORED[key]}")
            elif key in SYNONYMS:
                self.findings.warn(setting.place, f"{key} is an old name: use {SYNONYMS[key]}")
                if SYNONYMS[key] in source and source[SYNONYMS[key]].raw != setting.raw:
                    self._contradict(key, setting, f"is an old name of {SYNONYMS[key]}, which differs")
                renamed.setdefault(SYNONYMS[key], setting)
            else:
                renamed[key] = setting
        for file_key, key in SECRET_FILES.items():
            if _is_said(renamed.get(file_key)) and _is_said(renamed.get(key)):
                self._contradict(file_key, renamed.pop(file_key), f"cannot be set together with {key}")
        return renamed

    def _contradict(self, key: str, setting: Setting, sentence: str) -> None:
        value = HIDDEN if key in KEYS and KEYS[key].is_secret else show(setting.raw)
        self.findings.add(FaultCode.CONTRADICTION, setting.place, key=key, value=value, allowed=sentence)

    def read_secret_files(self, credentials: Path | None) -> None:
        """Read the files named by ``KEY_file``, and systemd's credentials for secrets that are not set."""
        for file_key, key in SECRET_FILES.items():
            setting = self.settings.pop(file_key, None)
            if setting is not None and _is_said(setting):
                self.settings[key] = setting
                file = self._parse(file_key, FilePath(), setting)
                if isinstance(file, Path):
                    self._read_secret(key, file_key, setting.place, self.path.parent / file)
            elif credentials is not None and key not in self.settings and _is_there(credentials / key):
                self._read_secret(key, key, Place(credentials / key), credentials / key)

    def _read_secret(self, key: str, file_key: str, place: Place, file: Path) -> None:
        try:
            self.values[key] = KEYS[key].kind.parse(read_secret(file))
        except BadValue:
            problem = f"must hold {KEYS[key].kind.allowed}"
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        except ValueError as error:
            problem = str(error)
        else:
            for sentence in open_to_others(file, holds_secret=True):
                self.findings.warn(Place(file), sentence)
            return
        value = show(str(file))
        self.findings.add(FaultCode.SECRET_FILE, place, key=file_key, value=value, allowed=problem)

    def read_values(self) -> None:
        """Parse every setting; a value that is not allowed is a fault."""
        for name, setting in self.settings.items():
            if name in SECRET_FILES or (KEYS[name].is_optional and not _is_said(setting)):
                continue
            value = self._parse(name, KEYS[name].kind, setting)
            if value is not None:
                self.values[name] = value

    def _parse(self, name: str, kind: Kind[Any], setting: Setting) -> object:
        """Parse a setting; add a fault and give ``None`` if its value is not allowed."""
        try:
            if setting.from_environment:
                return parse_variable(kind, str(setting.raw))
            return kind.parse(setting.raw)
        except BadValue as error:
            hidden = name in KEYS and KEYS[name].is_secret
            value = HIDDEN if hidden else show(setting.raw)
            self.findings.add(
                FaultCode.BAD_VALUE,
                setting.place,
                key=name,
                value=value,
                allowed=f"must be {kind.allowed}",
                hint=str(error),
            )
            return None

    def build(self, plugins: Mapping[str, dict[str, object]]) -> Config:
        """Make the configuration, and add faults for keys that contradict each other."""
        tables: dict[str, Any] = {}
        for table, owner in TABLES.items():
            values = {key.attribute: self._value(key) for key in KEYS.values() if key.table == table}
            if table == "plugins":
                values["settings"] = MappingProxyType(
                    {name: MappingProxyType(plugins[name]) for name in plugins}
                )
            tables[attribute_of(table)] = owner(**values)
        config = Config(**tables, path=self.path)
        self._check_together(config)
        return evolve(config, warnings=tuple(self.findings.warnings))

    def _value(self, key: Key) -> object:
        if key.required and key.path not in self.values:
            if not self.findings.has_fault(key.path):
                hint = f"write {key.name} = {show(key.kind.plain(key.example))}"
                place = Place(self.path)
                self.findings.add(FaultCode.MISSING, place, key=key.path, allowed="is required", hint=hint)
            return _NO_DOMAIN
        value = self.values.get(key.path, key.default)
        return self.path.parent / value if isinstance(value, Path) else value

    def _check_together(self, config: Config) -> None:
        given = {name for name, setting in self.settings.items() if _is_said(setting)}
        for found in contradictions(config, given):
            if any(map(self.findings.has_fault, found.keys)):
                continue
            name = next((key for key in found.keys if key in self.settings), found.keys[0])
            setting = self.settings.get(name, Setting(Place(self.path), ""))
            self._contradict(name, setting, found.sentence)
        for name, sentence in warnings(config, given):
            self.findings.warn(self.settings[name].place if name in given else Place(self.path), sentence)


def _is_said(setting: Setting | None) -> bool:
    return setting is not None and setting.raw != ""


def _is_there(file: Path) -> bool:
    # Not Path.exists: since Python 3.14 it is False for a file that this process may not stat.
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # Reading the file will fail, too, and report the error.
        pass
    return True
