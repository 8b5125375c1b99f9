"""What SIGHUP finds changed."""

from mensagod.config.differences import Difference, apply_reloadable, changed_keys
from mensagod.config.tree import KEYS
from tests.config.cases import GOOD, ConfigCase, document

_PLAIN = 'global.domain = "example.com"\n'


class ChangeTests(ConfigCase):
    """What :func:`changed_keys` promises."""

    def test_nothing_changed(self) -> None:
        """Two readings of one file do not differ, whatever the warnings."""
        old, new = self.load(_PLAIN), self.load(_PLAIN, MENSAGOD_NETWORK_PORT="1")
        self.assertNotEqual(old.warnings, new.warnings)
        self.assertEqual(changed_keys(old, new), ())

    def test_each_key(self) -> None:
        """A changed key is found, with whether it needs a restart."""
        old = self.load(_PLAIN)
        for name, key in KEYS.items():
            new = self.load(document(name, GOOD[name])[0])
            self.assertEqual(changed_keys(old, new), (Difference(name, restart=not key.reload),))

    def test_apply_each_key(self) -> None:
        """What needs a restart stays as it was; everything else is taken over."""
        old = self.load(_PLAIN)
        for name, key in KEYS.items():
            new = self.load(document(name, GOOD[name])[0])
            applied = apply_reloadable(old, new)
            self.assertEqual(changed_keys(old, applied), (Difference(name, False),) if key.reload else ())

    def test_certificates_reload(self) -> None:
        """Listeners wait for a restart; certificates and limits do not."""
        old = self.load(_PLAIN)
        new = self.load(_PLAIN + '[network]\nport = 7\ntls_key = "k"\nidle_timeout = 0')
        restart = {change.key: change.restart for change in changed_keys(old, new)}
        self.assertEqual(
            restart, {"network.port": True, "network.tls_key": False, "network.idle_timeout": False}
        )

    def test_plugins(self) -> None:
        """A plugin's table that is new, gone or different needs a restart."""
        old = self.load(_PLAIN + "[plugins.a]\nx = 1\n[plugins.b]\nx = 1\n[plugins.c]\nx = 1")
        new = self.load(_PLAIN + "[plugins.b]\nx = 2\n[plugins.c]\nx = 1\n[plugins.d]")
        self.assertEqual(
            [change.key for change in changed_keys(old, new)], ["plugins.a", "plugins.b", "plugins.d"]
        )
        self.assertTrue(all(change.restart for change in changed_keys(old, new)))
