"""The schema and the statements keep to what distributed engines can do, too (spec 06, *Database*)."""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

import mensagod
from tests.databases import DatabaseTestCase

ROOT = Path(mensagod.__file__).parent

UNREAD: Final = {
    "mensagod.storage.rows preface": "runs what interactions give it",
    "mensagod.storage.migrations step.sql": "the steps; the schema that they make is looked at",
    "mensagod.storage.bringing_over self.table.select": "a text of _CONTENTS or _QUEUE, which are read",
    "mensagod.storage.bringing_over table.store": "the same",
    "mensagod.storage.bringing_over walk.table.finish": "the same",
    "mensagod.storage.bringing_over table.put_inline": "the same",
    "mensagod.postgres.cluster sql.SQL('CREATE DATABASE {}').format(sql.Identifier(DATABASE))": "no table's",
    "mensagod.installation.databases"
    " query.format(sql.Identifier(table.nspname, table.relname)).as_string(connection)": "any table's",
    "mensagod.sharing.listening sql.SQL('LISTEN {}').format(channel)": "on a connection of its own",
}
"""Texts for ``execute`` that cannot be read here, by their module, and why that is all right."""

LISTENERS: Final = {"mensagod.sharing.listening"}
"""Modules whose connection is their own and goes through no pooler."""

CLASSES: Final = {"by workspace", "by bucket", "by source", "replicated"}
"""How tables can be spread over machines; the comment on each begins with one of these."""

WORKSPACE: Final = {"workspaces": "id", "keycard_entries": "owner"}
"""The column that says whose a row is, where it is not ``workspace``."""

ELSEWHERE: Final = {
    "names_pkey": "a user ID is unique in its domain, over all workspaces",
    "events_pkey": "every process reads the whole log in its order",
    "contents_key": "contents in the store of which nobody knows whose they are",
    "garbage_key": "as contents_key",
    "garbage_since": "erasing goes over all workspaces, by age",
    "submissions_at": "forgetting goes over all workspaces, by age",
    "writings_until": "those whose writers died are looked for in all workspaces",
    "sessions_process": "the sessions of a process end with it",
}
"""Keys and indexes of tables with a workspace that do not begin with it, and why."""

ACROSS: Final = {
    "SELECT key, day FROM unnest": "contents in the store of which nobody knows whose they are",
    "SELECT workspace, key, day FROM garbage": "erasing goes over all workspaces, by age",
    "SELECT workspace, key, day FROM writings": "those whose writers died are looked for in all workspaces",
    "SELECT workspace, quota, used, queued, files, last_update FROM mailboxes": "lock and find say which",
    "DELETE FROM sessions WHERE NOT EXISTS": "the sessions of a process end with it",
    "DELETE FROM sessions WHERE process": "so they do when it stops",
    "SELECT (SELECT count(*) FROM contents": "counts what is in the store, or yet to be brought over, of all",
    "DELETE FROM submissions WHERE at": "forgetting goes over all workspaces, by age",
    "SELECT now() AS now, array_agg(hour": "erasing goes over all workspaces, by age",
    "UPDATE garbage SET since": "so does mending the times of garbage",
    "SELECT domain FROM names UNION": "whoever joins learns all domains of the installation",
}
"""The beginnings of statements on tables by workspace that do not say whose rows they mean, and why."""

_BEGINNING = re.compile(
    r"(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|SET|CREATE TABLE|LISTEN|UNLISTEN|NOTIFY) "
)
_IDS_OF_TRANSACTIONS = re.compile(
    r"\bxid8?\b|xact_id|\btxid_|snapshot|\bxmin\b|\bxmax\b|\bctid\b", re.IGNORECASE
)
_CHANGING_CTE = re.compile(r"\bAS (NOT )?(MATERIALIZED )?\(\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_UPDATE = re.compile(r"\bUPDATE (?!SKIP|NOWAIT|OF)\S+ .*|\bDO UPDATE\b.*", re.DOTALL)
_CALL = re.compile(r"\b([a-z_][a-z0-9_]*)\s*\(")
_ROW_LOCK = re.compile(r"\bFOR (NO KEY )?UPDATE\b|\bFOR (KEY )?SHARE\b", re.IGNORECASE)
_SEVERAL = re.compile(r"=\s*ANY\b|\bIN\s*\(|\bunnest\b|\bJOIN\b", re.IGNORECASE)
_SESSION_STATE = re.compile(
    r"(^|;)\s*(SET (?!LOCAL\b)|RESET|PREPARE|DECLARE \w+ [A-Z ]*CURSOR|LISTEN|UNLISTEN|LOAD|DISCARD)"
    r"|\bTEMP(ORARY)? TABLE|pg_(try_)?advisory_(unlock|lock)|\bset_config\b|\b(curr|last)val\b",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r";|\b(?:BEGIN|THEN|ELSE|LOOP)\b")
_TABLE = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO) (\w+)")
_NOW_GIVEN = re.compile(r"\bDO UPDATE SET\b.*\b\w+ = (now\(\)|current_timestamp)", re.IGNORECASE | re.DOTALL)


@frozen
class Statement:
    """The text of a statement, and the module that has it."""

    module: str
    sql: str


def texts(node: ast.expr, module: ModuleType) -> list[str]:
    """Give all texts that an expression can have.

    :raises ValueError: if they depend on more than constants and conditions.
    """
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            pairs = product(texts(left, module), texts(right, module))
            return [first + second for first, second in pairs]
        case ast.IfExp(body=body, orelse=orelse):
            return [*texts(body, module), *texts(orelse, module)]
        case ast.Name(id=name) if isinstance(found := getattr(module, name, None), str):
            return [found]
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            found = getattr(getattr(module, name, None), attribute, None)
            if isinstance(found, str):
                return [found]
    raise ValueError(ast.unparse(node))


def is_execute(node: ast.AST) -> bool:
    """Tell whether a node calls a method ``execute``, of a transaction or of a cursor."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"execute", "executemany", "mogrify"}
    )


def expressions(tree: ast.AST) -> Iterator[ast.expr]:
    """Give the outermost expressions that make a text."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.BinOp | ast.Constant | ast.IfExp):
            yield child
        else:
            yield from expressions(child)


def read_module(name: str, tree: ast.Module) -> tuple[set[Statement], set[str]]:
    """Give the statements of a module, and the parts of texts that cannot be read."""
    module = importlib.import_module(name)
    found: set[Statement] = set()
    unread = set()
    for node in ast.walk(tree):
        if is_execute(node):
            try:
                found |= {Statement(name, text.strip()) for text in texts(node.args[0], module)}  # type: ignore[attr-defined]
            except ValueError as error:
                unread.add(f"{name} {error}")
    for expression in expressions(tree):
        try:
            composed = texts(expression, module)
        except ValueError:
            continue
        found |= {Statement(name, text.strip()) for text in composed if _BEGINNING.match(text.lstrip("\n"))}
    return found, unread


@cache
def read_package() -> tuple[frozenset[Statement], frozenset[str]]:
    """Give all statements of the package, and what of them cannot be read."""
    found: set[Statement] = set()
    unread: set[str] = set()
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if path.is_relative_to(ROOT / "storage") or ".execute" in source:
            parts = path.relative_to(ROOT.parent).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            statements, faults = read_module(name, ast.parse(source))
            found |= statements
            unread |= faults
    return frozenset(found), frozenset(unread)


def read_functions(functions: Mapping[str, str]) -> frozenset[Statement]:
    """Give the statements of the schema's own functions.

    :param functions: their bodies by their names.
    """
    return frozenset(
        Statement(name, statement.strip())
        for name, body in functions.items()
        for statement in _BETWEEN.split(re.sub(r"--.*", "", body))
    )


class StatementTests(DatabaseTestCase):
    """What no statement does."""

    async def prepare(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT DISTINCT proname FROM pg_proc WHERE provolatile = 'v'")
            self.volatile = {name for (name,) in cursor.fetchall()}
            cursor.execute(_FUNCTIONS)
            functions = dict(cursor.fetchall())
            self.statements = read_package()[0] | read_functions(functions)
            cursor.execute(_TABLES)
            self.owned = {
                table: WORKSPACE.get(table, "workspace")
                for table, comment in cursor.fetchall()
                if comment.startswith("By workspace")
            }

    def assert_none(self, found: list[Statement]) -> None:
        self.assertEqual(found, [], "\n".join(map(str, found)))

    def test_all_are_read(self) -> None:
        """Each call is understood, but for the few that are known."""
        self.assertEqual(read_package()[1], set(UNREAD))
        for beginning in (
            "UPDATE mailboxes AS box SET used = used + growth",
            "INSERT INTO queue (",
            "INSERT INTO failures AS known",
            "INSERT INTO device_sends AS known",
            "SET LOCAL synchronous_commit TO off; INSERT INTO writings",
        ):
            self.assertTrue(any(one.sql.startswith(beginning) for one in self.statements), beginning)

    def test_workspace_named(self) -> None:
        """Each on a table by workspace says whose rows it means, but for those that are named above."""
        found = [one.sql for one in self.statements if not _names_owner(one.sql, self.owned)]
        known = {sql: [beginning for beginning in ACROSS if sql.startswith(beginning)] for sql in found}
        self.assertEqual([sql for sql, beginnings in known.items() if len(beginnings) != 1], [])
        self.assertEqual(
            {beginning for beginnings in known.values() for beginning in beginnings}, set(ACROSS)
        )

    def test_transaction_ids(self) -> None:
        """None looks at the numbers of transactions, which are a node's own."""
        self.assert_none([one for one in self.statements if _IDS_OF_TRANSACTIONS.search(one.sql)])

    def test_changing_expressions(self) -> None:
        """None changes rows within a common table expression."""
        self.assert_none([one for one in self.statements if _CHANGING_CTE.search(one.sql)])

    def test_volatile_functions(self) -> None:
        """None sets a column to what differs from node to node, or from try to try."""
        self.assertLessEqual({"gen_random_uuid", "clock_timestamp", "random", "nextval"}, self.volatile)
        self.assert_none([one for one in self.statements if self.volatile & _called_in_update(one.sql)])
        self.assert_none([one for one in self.statements if _NOW_GIVEN.search(one.sql)])

    def test_row_locks(self) -> None:
        """None locks rows of several keys, which would be on several machines."""
        locking = [one for one in self.statements if _ROW_LOCK.search(one.sql)]
        self.assertGreater(len(locking), 3)
        self.assert_none([one for one in locking if _SEVERAL.search(one.sql)])

    def test_session_state(self) -> None:
        """None leaves anything in the session, which a pooler gives to others."""
        found = [one for one in self.statements if _SESSION_STATE.search(one.sql)]
        self.assert_none([one for one in found if one.module not in LISTENERS])


def _names_owner(sql: str, owned: Mapping[str, str]) -> bool:
    """Tell whether a statement has the column that says whose the rows are, of each table that has one.

    Beyond what it gives: there it restricts nothing.
    """
    tables = set(_TABLE.findall(sql)) & set(owned)
    rest = sql if "INSERT INTO" in sql else re.split(r" FROM | SET ", sql, maxsplit=1)[-1]
    return all(re.search(rf"\b{owned[table]}\b", rest) for table in tables)


def _called_in_update(sql: str) -> set[str]:
    """Give the functions that are called in what an UPDATE, or DO UPDATE, does."""
    return {name for part in _UPDATE.findall(_joined(sql)) for name in _CALL.findall(part)}


def _joined(sql: str) -> str:
    return re.sub(r"\s+", " ", sql)


class ReadingTests(SynchronousTestCase):
    """The test sees what it looks for."""

    def read(self, source: str) -> list[str]:
        tree = ast.parse(source)
        return [text for one in expressions(tree) for text in texts(one, importlib.import_module(__name__))]

    def test_texts(self) -> None:
        """Constants, sums, conditions, and names of other modules."""
        self.assertEqual(
            self.read("x = 'SELECT ' + ('a' if b else 'c') + __name__"),
            [f"SELECT {one}{__name__}" for one in "ac"],
        )
        self.assertEqual(self.read("x('SELECT ' + mensagod.__name__)"), ["SELECT mensagod"])
        self.assertRaises(ValueError, self.read, "x = 'SELECT ' + nobody_knows")

    def test_functions(self) -> None:
        """The statements of a function, without comments and what is around them."""
        body = "BEGIN -- SELECT;\n IF a THEN UPDATE b SET c = 1; END IF; END"
        statements = {one.sql for one in read_functions({"f": body})}
        self.assertEqual(statements, {"", "IF a", "UPDATE b SET c = 1", "END IF", "END"})

    def test_patterns(self) -> None:
        """Each pattern finds what is not allowed, and nothing of what is."""
        for pattern, wrong, right in (
            (_IDS_OF_TRANSACTIONS, "SELECT pg_current_xact_id()", "SELECT maximum"),
            (_CHANGING_CTE, "WITH x AS (DELETE FROM y RETURNING z)", "WITH x AS (SELECT 1)"),
            (_SESSION_STATE, "SET lock_timeout TO 1", "SET LOCAL lock_timeout TO 1"),
            (_SESSION_STATE, "SELECT 1; SET a TO 1", "UPDATE a SET b = 1"),
            (_SESSION_STATE, "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_xact_lock(1)"),
            (_SESSION_STATE, "CREATE TEMPORARY TABLE a ()", "CREATE TABLE a ()"),
            (_ROW_LOCK, "SELECT 1 FOR NO KEY UPDATE", "INSERT DO UPDATE"),
            (_SEVERAL, "SELECT 1 WHERE a = ANY(%s) FOR UPDATE", "SELECT 1 WHERE a = %s FOR UPDATE"),
            (_NOW_GIVEN, "DO UPDATE SET a = 1, seen = now()", "DO UPDATE SET seen = excluded.seen"),
        ):
            self.assertRegex(wrong, pattern)
            self.assertNotRegex(right, pattern)
        owned = {"files": "workspace"}
        for sql, expected in (
            ("SELECT workspace FROM files WHERE name = %s", False),
            ("SELECT name FROM files WHERE workspace = %s", True),
            ("UPDATE files SET name = %s WHERE size = %s", False),
            ("DELETE FROM files", False),
            ("DELETE FROM lookups", True),
        ):
            self.assertEqual(_names_owner(sql, owned), expected, sql)
        self.assertEqual(_called_in_update("UPDATE a SET b = random ()"), {"random"})
        self.assertEqual(
            _called_in_update("INSERT INTO a SELECT f() ON CONFLICT DO UPDATE\nSET b = g()"), {"g"}
        )
        self.assertEqual(_called_in_update("SELECT f() FROM a FOR UPDATE SKIP LOCKED"), set())


class SchemaTests(DatabaseTestCase):
    """What the schema looks like after all steps."""

    async def prepare(self) -> None:
        self.classes: dict[str, str] = dict(self.rows(_TABLES))

    def rows(self, sql: str) -> Any:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def of_class(self, name: str) -> set[str]:
        return {table for table, comment in self.classes.items() if (comment or "").lower().startswith(name)}

    def test_classes(self) -> None:
        """The comment on each table says how it can be spread over machines."""
        without = {
            table: comment
            for table, comment in self.classes.items()
            if sum(table in self.of_class(name) for name in CLASSES) != 1
        }
        self.assertEqual(without, {})
        for name in CLASSES:
            self.assertTrue(self.of_class(name), name)

    def test_types_and_defaults(self) -> None:
        """No column has the number of a transaction."""
        found = self.rows(
            "SELECT table_name, column_name, udt_name, column_default FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        )
        self.assertGreater(len(found), 100)
        self.assertEqual(
            [one for one in found if any(_IDS_OF_TRANSACTIONS.search(text or "") for text in one)], []
        )

    def test_workspace_first(self) -> None:
        """Keys and indexes of a table with a workspace begin with it, but for those that are named above."""
        owned: dict[str, str] = dict(self.rows(_OWNERS)) | WORKSPACE
        indexes = self.rows(_INDEXES)
        other = {index for table, index, first in indexes if table in owned and first != owned[table]}
        self.assertEqual(other, set(ELSEWHERE))
        self.assertLessEqual(self.of_class("by workspace"), set(owned))
        keyed = {table for table, _, _ in indexes}
        self.assertLessEqual(set(self.classes), keyed)

    def test_first_of_other_classes(self) -> None:
        """What is by bucket has the bucket first in its key, and what is by source has the source in it."""
        keys = {table: columns.split() for table, columns in self.rows(_KEYS)}
        for table in self.of_class("by bucket"):
            self.assertEqual(keys[table][0], "bucket")
        for table in self.of_class("by source"):
            self.assertIn("source", keys[table])

    def test_references(self) -> None:
        """Foreign keys are between rows of one workspace."""
        owned: dict[str, str] = dict(self.rows(_OWNERS)) | WORKSPACE
        references = self.rows(_REFERENCES)
        self.assertGreater(len(references), 5)
        found = [
            name
            for name, table, column, other, other_column in references
            if column not in {"workspace", owned.get(table)} or other_column != owned.get(other)
        ]
        self.assertEqual(found, [])


_FUNCTIONS = "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
_TABLES = (
    "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
_OWNERS = (
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = 'public' AND column_name = 'workspace'"
)
_INDEXES = (
    "SELECT tables.relname AS a, indexes.relname AS b, coalesce(attname, 'an expression') FROM pg_index"
    " JOIN pg_class AS tables ON tables.oid = indrelid AND tables.relnamespace = 'public'::regnamespace"
    " JOIN pg_class AS indexes ON indexes.oid = indexrelid"
    " LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
)
_KEYS = (
    "SELECT relname, string_agg(attname, ' ' ORDER BY place) FROM pg_constraint"
    " JOIN pg_class ON pg_class.oid = conrelid AND relnamespace = 'public'::regnamespace"
    " CROSS JOIN unnest(conkey) WITH ORDINALITY AS parts (number, place)"
    " JOIN pg_attribute ON attrelid = conrelid AND attnum = number WHERE contype = 'p' GROUP BY relname"
)
_REFERENCES = (
    "SELECT conname, tables.relname AS a, columns.attname AS b, others.relname AS c, targets.attname AS d"
    " FROM pg_constraint"
    " JOIN pg_class AS tables ON tables.oid = conrelid"
    " JOIN pg_class AS others ON others.oid = confrelid"
    " JOIN pg_attribute AS columns ON columns.attrelid = conrelid AND columns.attnum = conkey[1]"
    " JOIN pg_attribute AS targets ON targets.attrelid = confrelid AND targets.attnum = confkey[1]"
    " WHERE contype = 'f'"
)
