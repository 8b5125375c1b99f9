"""Accepting messages together: what is taken when, and what becomes of faults."""

from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar, cast
from uuid import UUID, uuid4

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.delivery import placing
from mensagod.delivery.accepting import HASTE_SECONDS, MANY, MOST, Acceptor
from mensagod.delivery.placing import Accepted, Submission
from mensagod.errors import CommandError, QuotaExceeded
from mensagod.storage.attempts import CommitUnknown, DatabaseUnavailable, Locked
from mensagod.storage.contents import Content
from mensagod.storage.rows import Transaction as DatabaseTransaction
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import FileName

OURS = Domain.from_text("example.com")
RATE = 77

P = ParamSpec("P")
T = TypeVar("T")


def message(sender: WorkspaceID | None = None, digest: bytes | None = None) -> Submission:
    """Make a message that nobody has submitted before."""
    content = Content.in_row(uuid4().bytes)
    return Submission(
        id=uuid4(),
        sender=sender or WorkspaceID.random(),
        device=DeviceID.random(),
        sender_domain=OURS,
        domain=OURS,
        recipient=None,
        name=FileName.make(1, content.size),
        content=content,
        digest=digest or content.hash or b"",
    )


@frozen(eq=False)
class Transaction:
    """A transaction that the test ends."""

    messages: Sequence[Submission]
    wait: bool
    done: Deferred[Mapping[UUID, Accepted | Exception]] = field(factory=Deferred)

    def commit(self, results: Mapping[UUID, Accepted | Exception] | None = None) -> None:
        """Let all messages be queued, but for those with another result."""
        queued = {one.id: Accepted(one.name, bucket=5) for one in self.messages}
        self.done.callback({**queued, **(results or {})})

    def fail(self, error: Exception) -> None:
        self.done.errback(error)


@define(eq=False, slots=False)
class FakeDatabase:
    """A database whose transactions the test ends.

    :ivar transactions: all so far.
    """

    transactions: list[Transaction] = field(factory=list)

    def run(
        self, interaction: Callable[Concatenate[DatabaseTransaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        assert interaction == placing.accept
        messages, rate = cast(tuple[Sequence[Submission], int], args)
        assert rate == RATE
        self.transactions.append(Transaction(messages, bool(kwargs["wait"])))
        return cast("Deferred[T]", self.transactions[-1].done)

    write = read = run


class AcceptingTestCase(SynchronousTestCase):
    """An acceptor, and whom it has told."""

    def setUp(self) -> None:
        self.database = FakeDatabase()
        self.delivered: list[WorkspaceID] = []
        self.queued: list[int] = []
        self.clock = Clock()
        self.acceptor = Acceptor(
            clock=self.clock,
            database=self.database,
            rate=lambda: RATE,
            delivered=self.delivered.append,
            queued=self.queued.append,
        )

    def accept(self, *messages: Submission) -> list[Deferred[Accepted]]:
        return [Deferred.fromCoroutine(self.acceptor.accept(one)) for one in messages]

    def occupy(self) -> Transaction:
        """Have a transaction under way."""
        self.accept(message())[0].addErrback(lambda _: None)
        return self.database.transactions[-1]

    @property
    def taken(self) -> list[Sequence[Submission]]:
        return [transaction.messages for transaction in self.database.transactions]

    def assert_accepted(self, answer: Deferred[Accepted], one: Submission) -> None:
        self.assertEqual(self.successResultOf(answer).name, one.name)


class TogetherTests(AcceptingTestCase):
    """Which messages go together."""

    def test_at_once(self) -> None:
        """A message that comes while no transaction is under way does not wait."""
        one = message()
        (answer,) = self.accept(one)
        self.assertEqual(self.taken, [[one]])
        self.assertTrue(self.database.transactions[0].wait)
        self.assertNoResult(answer)
        self.database.transactions[0].commit()
        self.assert_accepted(answer, one)

    def test_together(self) -> None:
        """What comes while a transaction is under way goes into the next one, in its order."""
        first = self.occupy()
        messages = [message() for _ in range(5)]
        answers = self.accept(*messages)
        self.assertEqual(len(self.taken), 1)
        first.commit()
        self.assertEqual(self.taken[1:], [messages])
        self.database.transactions[-1].commit()
        for answer, one in zip(answers, messages, strict=True):
            self.assert_accepted(answer, one)

    def test_second(self) -> None:
        """If many wait, a second transaction begins beside the first, and no third."""
        first = self.occupy()
        messages = [message() for _ in range(2 * MANY)]
        self.accept(*messages[: MANY - 1])
        self.assertEqual(len(self.taken), 1)
        self.accept(*messages[MANY - 1 :])
        self.assertEqual(self.taken[1:], [messages[:MANY]])
        first.commit()
        self.assertEqual(self.taken[2:], [messages[MANY:]])

    def test_bounded(self) -> None:
        """A transaction takes so many messages and no more; the others go into the next."""
        first = self.occupy()
        second = [message() for _ in range(MANY)]
        messages = [message() for _ in range(MOST + 3)]
        self.accept(*second, *messages)
        first.commit()
        self.assertEqual(self.taken[1:], [second, messages[:MOST]])
        # The rest is not many, so it waits until no transaction is under way.
        self.database.transactions[1].commit()
        self.assertEqual(len(self.taken), 3)
        self.database.transactions[2].commit()
        self.assertEqual(self.taken[3:], [messages[MOST:]])

    def test_same_message(self) -> None:
        """The same message, submitted twice at once, is not in a transaction twice; others do not wait."""
        occupied = self.occupy()
        sender, digest = WorkspaceID.random(), bytes(32)
        first, other, again = message(sender, digest), message(), message(sender, digest)
        answers = self.accept(first, other, again)
        occupied.commit()
        self.assertEqual(self.taken[1:], [[first, other]])
        self.database.transactions[1].commit()
        self.assertEqual(self.taken[2:], [[again]])
        self.database.transactions[2].commit({again.id: Accepted(first.name)})
        self.assertEqual([self.successResultOf(answer).name for answer in answers][2], first.name)

    def test_told(self) -> None:
        """The recipient is told of what was delivered, the queue of what was queued, nobody of the rest."""
        delivered, queued, again = message(), message(), message()
        target = WorkspaceID.random()
        first = self.occupy()
        self.accept(delivered, queued, again)
        first.commit()
        self.queued.clear()
        self.database.transactions[-1].commit(
            {delivered.id: Accepted(delivered.name, delivered=target), again.id: Accepted(again.name)}
        )
        self.assertEqual((self.delivered, self.queued), ([target], [5]))


class FaultTests(AcceptingTestCase):
    """Transactions that fail."""

    def together(self, count: int = 3) -> tuple[list[Submission], list[Deferred[Accepted]], Transaction]:
        """Have messages in one transaction, and nothing else under way."""
        first = self.occupy()
        messages = [message() for _ in range(count)]
        answers = self.accept(*messages)
        first.commit()
        self.queued.clear()
        (transaction,) = self.database.transactions[1:]
        self.database.transactions.clear()
        return messages, answers, transaction

    def commit_alone(self, one: Submission, error: Exception | None = None) -> None:
        """End the next transaction, in which one message must be alone."""
        transaction = self.database.transactions.pop(0)
        self.assertEqual(transaction.messages, [one])
        if error is None:
            transaction.commit()
        else:
            transaction.fail(error)

    def test_refused(self) -> None:
        """A message that is refused touches no other."""
        messages, answers, transaction = self.together()
        transaction.commit({messages[1].id: QuotaExceeded()})
        self.failureResultOf(answers[1], QuotaExceeded)
        self.assert_accepted(answers[0], messages[0])
        self.assert_accepted(answers[2], messages[2])
        self.assertEqual(len(self.queued), 2)

    def test_fault_of_one(self) -> None:
        """One that makes the transaction fail does so alone: the others are accepted."""
        messages, answers, transaction = self.together()
        transaction.fail(LookupError())
        self.commit_alone(messages[0])
        self.commit_alone(messages[1], LookupError())
        self.commit_alone(messages[2])
        self.failureResultOf(answers[1], LookupError)
        self.assert_accepted(answers[0], messages[0])
        self.assert_accepted(answers[2], messages[2])
        self.assertEqual(self.database.transactions, [])

    def test_locked_mailbox(self) -> None:
        """If a mailbox is locked for long, all are accepted without waiting for it."""
        messages, answers, transaction = self.together()
        transaction.fail(Locked())
        (again,) = self.database.transactions
        self.assertEqual((again.messages, again.wait), (messages, False))
        again.commit()
        for answer, one in zip(answers, messages, strict=True):
            self.assert_accepted(answer, one)

    def test_haste(self) -> None:
        """After a wait in vain no transaction waits, for a while."""
        _, _, transaction = self.together()
        transaction.fail(Locked())
        self.database.transactions.pop().commit()
        for seconds, waits in ((0.0, False), (HASTE_SECONDS - 0.1, False), (0.1, True)):
            self.clock.advance(seconds)
            again = self.occupy()
            self.assertEqual(again.wait, waits)
            again.commit()

    def test_other_lock(self) -> None:
        """If something else is locked, only the message that needs it is refused for now."""
        messages, answers, transaction = self.together()
        transaction.fail(Locked())
        self.database.transactions.pop().fail(Locked())
        self.commit_alone(messages[0])
        self.commit_alone(messages[1], Locked())
        self.commit_alone(messages[2])
        self.failureResultOf(answers[1], Locked)
        self.assert_accepted(answers[2], messages[2])
        self.assertEqual(self.database.transactions, [])

    def test_unavailable(self) -> None:
        """While the database is away all hear that, and nothing is tried again."""
        for error in (DatabaseUnavailable(), CommitUnknown()):
            _, answers, transaction = self.together()
            transaction.fail(error)
            for answer in answers:
                self.failureResultOf(answer, type(error))
            self.assertTrue(issubclass(type(error), CommandError))
            self.assertEqual((self.database.transactions, self.queued), ([], []))

    def test_away_for_many(self) -> None:
        """While the database is away, a client with thousands of messages hears that of each."""
        first = self.occupy()
        self.patch(self.database, "run", lambda *_, **__: fail(DatabaseUnavailable()))
        left = 3000

        def again(_: object) -> None:
            nonlocal left
            left -= 1
            if left > 0:
                self.accept(message())[0].addErrback(again)

        for answer in self.accept(*[message() for _ in range(5)]):
            answer.addErrback(again)
        first.fail(DatabaseUnavailable())
        self.assertLessEqual(left, 0)

    def test_goes_on(self) -> None:
        """After a fault the next messages are accepted as if nothing had happened."""
        _, answers, transaction = self.together(1)
        transaction.fail(LookupError())
        self.failureResultOf(answers[0], LookupError)
        one = message()
        (answer,) = self.accept(one)
        self.assertEqual(self.taken, [[one]])
        self.database.transactions[0].commit()
        self.assert_accepted(answer, one)

    def test_room_is_kept(self) -> None:
        """Messages that are accepted alone, after a fault, take the place of one transaction."""
        messages, _, transaction = self.together()
        transaction.fail(LookupError())
        self.accept(message())
        self.assertEqual(len(self.database.transactions), 1)
        self.commit_alone(messages[0])
        self.assertEqual(len(self.database.transactions), 1)

    def test_fault_of_ours(self) -> None:
        """A result that is missing, which only a bug can cause, is logged; the next messages are accepted."""
        self.accept(message())
        self.database.transactions.pop().done.callback({})
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        one = message()
        (answer,) = self.accept(one)
        self.database.transactions.pop().commit()
        self.assert_accepted(answer, one)
