"""The table of codes and texts (spec 01, *Status codes*)."""

from twisted.trial.unittest import SynchronousTestCase

from mensagod.status import Status

TABLE = """
100 CONTINUE
101 PENDING
102 ITEM
103 UPDATE
104 TRANSFER
105 APPROVAL REQUIRED
200 OK
201 REGISTERED
202 ARCHIVED
203 APPROVED
300 INTERNAL SERVER ERROR
301 NOT IMPLEMENTED
302 SERVER MAINTENANCE
303 SERVER UNAVAILABLE
304 REGISTRATION CLOSED
305 INTERRUPTED
306 KEY FAILURE
307 DELIVERY FAILURE LIMIT EXCEEDED
308 DELIVERY DELAY NOT REACHED
309 ALGORITHM NOT SUPPORTED
310 DELIVERY REFUSED
400 BAD REQUEST
401 UNAUTHORIZED
402 AUTHENTICATION FAILURE
403 FORBIDDEN
404 NOT FOUND
405 TERMINATED
406 PAYMENT REQUIRED
407 UNAVAILABLE
408 RESOURCE EXISTS
409 QUOTA INSUFFICIENT
410 HASH MISMATCH
411 BAD KEYCARD DATA
412 NONCOMPLIANT KEYCARD DATA
413 INVALID SIGNATURE
414 LIMIT REACHED
415 EXPIRED
416 PROCESS INCOMPLETE
500 ADDRESS NOT FOUND
501 DESTINATION CURRENTLY UNAVAILABLE
502 DELIVERY FAILED - DESTINATION UNAVAILABLE
503 BAD RECIPIENT ADDRESS
504 UNREADABLE RECIPIENT ADDRESS
"""


class StatusTests(SynchronousTestCase):
    """The codes of the protocol."""

    def test_table(self) -> None:
        """There are exactly the codes of the spec, each with its text."""
        rows = [line.split(" ", 1) for line in TABLE.strip().splitlines()]
        self.assertEqual(
            [(str(status.value), status.text) for status in Status], [tuple(row) for row in rows]
        )

    def test_is_a_number(self) -> None:
        """A status is its code, and is found by it."""
        self.assertEqual(Status.NOT_FOUND, 404)
        self.assertIs(Status(404), Status.NOT_FOUND)  # type: ignore[call-arg]
