"""The stages of a login (spec 04, *Logging in*)."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import StateMismatch
from mensagod.sessions.login import TRANSITIONS, Event, Login, Stage
from mensagod.values.identity import Domain, WorkspaceID

WORKSPACE, DOMAIN = WorkspaceID.random(), Domain("example.com")


def login_at(stage: Stage) -> Login:
    """Give a login that has come as far as a stage."""
    return Login() if stage is Stage.FRESH else Login(stage, WORKSPACE, DOMAIN)


class TransitionTests(SynchronousTestCase):
    """Every event at every stage."""

    def test_table(self) -> None:
        """Each goes where the table says, and nowhere where that says nothing."""
        for stage, event in product(Stage, Event):
            login = login_at(stage)
            expected = TRANSITIONS.get((stage, event))
            if expected is None:
                self.assertRaises(StateMismatch, login.after, event)
            else:
                self.assertIs(login.after(event).stage, expected)

    def test_order(self) -> None:
        """The password comes after the name, the device after the password; nothing is passed over."""
        forward = {key: to for key, to in TRANSITIONS.items() if to is not Stage.FRESH}
        self.assertEqual(
            forward,
            {
                (Stage.FRESH, Event.NAMED): Stage.NAMED,
                (Stage.NAMED, Event.PASSWORD_RIGHT): Stage.PROVEN,
            },
        )

    def test_reachable(self) -> None:
        """Every stage can be reached, and left to the beginning."""
        self.assertEqual(set(TRANSITIONS.values()), set(Stage))
        for stage in Stage:
            self.assertIs(login_at(stage).after(Event.CANCELLED).stage, Stage.FRESH)

    def test_knows_whom(self) -> None:
        """The workspace is known from the name on, and forgotten at the beginning."""
        login = Login().name(WORKSPACE, DOMAIN)
        self.assertEqual(login.named, (WORKSPACE, DOMAIN))
        proven = login.prove("what is stored")
        self.assertEqual((proven.stage, proven.named), (Stage.PROVEN, (WORKSPACE, DOMAIN)))
        self.assertEqual(proven.proven, (WORKSPACE, DOMAIN, "what is stored"))
        self.assertNotIn("what is stored", repr(proven))
        for fresh in (Login(), proven.after(Event.DEVICE_REFUSED), login.after(Event.PASSWORD_WRONG)):
            self.assertEqual(fresh, Login())
            with self.assertRaises(StateMismatch):
                _ = fresh.named
        for unproven in (Login(), login):
            with self.assertRaises(StateMismatch):
                _ = unproven.proven

    def test_named_twice(self) -> None:
        """A login names one workspace."""
        with self.assertRaises(StateMismatch):
            Login().name(WORKSPACE, DOMAIN).name(WorkspaceID.random(), DOMAIN)
