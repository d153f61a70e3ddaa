"""The same store on SQLite, MariaDB and PostgreSQL: written, read, and refused alike."""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import start_python
from lineage_store import Builder
from ml_metadata.metadata_store import metadata_store
from PIL import Image
from reference_reader import open_reader
from servers import PASSWORD, USER, Server, free_port

from common.errors import ConfigError, Exit, StoreError
from lineage.questions.model import model_lineage
from lineage.store.connection import PASSWORD_VARIABLE, Connection
from lineage.store.opening import backend
from lineage.store.reader import Reader
from lineage.store.setup import check_writable, make_ready

KINDS = ("sqlite", "mysql", "postgresql")
ODD = "é✓😀 'quoted' \"twice\" back\\slash % ? \n"
"""Text that a wrong encoding or quoting would change."""

Store = Callable[[str], Connection]
"""Names a store that is not there yet."""


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    for name in ("MYSQL_PWD", "PGPASSWORD"):
        monkeypatch.setenv(name, "")  # so that what is set in between is put back


def named(kind: str, name: str, request: pytest.FixtureRequest, folder: Path) -> Connection:
    if kind == "sqlite":
        return Connection.parse(str(folder / f"{name}.sqlite"))
    server: Server = request.getfixturevalue("mariadb" if kind == "mysql" else kind)
    return Connection.parse(server.url(name))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Connection:
    """One of each kind that is not there yet."""
    name = re.sub(r"\W", "_", request.node.name)[:40]
    return named(kind, f"t_{name}", request, tmp_path)


@pytest.fixture(scope="module")
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Connection]:
    """The same runs on every backend."""
    folder = tmp_path_factory.mktemp("filled")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD_VARIABLE, PASSWORD)
        for kind in KINDS:
            connection = found[kind] = named(kind, "filled", request, folder)
            make_ready(connection)
            write_runs(Builder(folder / "same.sqlite", connection=connection.mlmd_config()))
    return found


def write_runs(builder: Builder) -> None:
    first = builder.run(
        "RunA",
        version=1,
        run_properties={"config": ODD, "seed": 7, "duration_seconds": 12.5, "state": "complete"},
        properties={"Trainer": {"accuracy": 0.9375, "peak_memory_bytes": 3e9, "note": ODD}},
    )
    reused = dict.fromkeys(("ImageExampleGen", "StatisticsGen", "SchemaGen", "Transform"), first)
    second = builder.run(
        "runa", version=2, reused=reused, baseline=first.artifacts["Trainer.model"]
    )
    builder.run("run-é✓😀", reused=dict.fromkeys(second.executions, second))
    builder.run("failed", fails="Trainer")
    builder.run("unblessed", version=None)


def everything(reader: Reader) -> dict[str, Any]:
    """What a reader says of a whole store."""
    contexts = reader.latest_contexts("pipeline_run")
    by_context = reader.executions_in([c.id for c in contexts])
    executions = sorted({e for ids in by_context.values() for e in ids})
    artifacts = list(reader.all_artifacts())
    ids = [a.id for a in artifacts]
    return {
        "contexts": contexts,
        "limited": reader.latest_contexts("pipeline_run", 2),
        "named": [reader.context("pipeline_run", n) for n in ("RunA", "runa", "RUNA", "run-é✓😀")],
        "by context": by_context,
        "executions": reader.executions(executions),
        "contexts of": reader.contexts_of(executions),
        "events": reader.events(executions),
        "all events": sorted(reader.all_events()),
        "states": reader.execution_states(),
        "artifacts": artifacts,
        "by id": reader.artifacts([*ids[:3], 10**6]),
        "by uri": reader.artifacts_by_uri(artifacts[0].uri),
        "models": reader.artifacts_by_type("Model"),
        "pushed": reader.artifacts_by_type(
            "PushedModel", {"pushed": 1, "model_name": "digits-keras"}
        ),
        "producers": reader.producers(ids),
        "consumers": reader.consumers(ids),
    }


def test_both_readers_say_the_same(filled, kind):
    fast, reference = (open_reader(filled[kind], via) for via in ("sql", "mlmd"))
    assert everything(fast) == everything(reference)
    fast.close()


def test_every_backend_says_the_same(filled):
    answers = {}
    for kind, connection in filled.items():
        reader = open_reader(connection)
        refs = ("digits-keras@1", "digits-keras@2", "run-é✓😀")
        answers[kind] = timeless([everything(reader), [model_lineage(reader, r) for r in refs]])
        reader.close()
    assert answers["mysql"] == answers["sqlite"]
    assert answers["postgresql"] == answers["sqlite"]


def timeless(value: Any) -> Any:
    """Without what depends on when it was written."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [timeless(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return timeless({f: getattr(value, f) for f in value.__dataclass_fields__})
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return "a time"
    return "a time" if isinstance(value, int) and value > 10**12 else value


def test_text_is_what_it_was_and_names_differ_by_case(filled, kind):
    reader = open_reader(filled[kind])
    upper, lower, neither = (reader.context("pipeline_run", n) for n in ("RunA", "runa", "RUNA"))
    assert upper and lower and upper.id != lower.id and neither is None
    assert upper.custom["config"] == ODD
    assert reader.latest_contexts("pipeline_run")[2].name == "run-é✓😀"
    reader.close()


def test_a_viewer_leaves_no_trace(filled, kind, mariadb, postgresql):
    before = contents(filled[kind])
    for via in ("sql", "mlmd"):
        everything(open_reader(filled[kind], via))
    assert contents(filled[kind]) == before


def contents(connection: Connection) -> list[Any]:
    """All rows of all tables; of a file also its neighbours and time."""
    database = backend(connection).connect(connection)
    rows = [
        (table, sorted(map(repr, database.query(f"SELECT * FROM {name(table)}", []))))
        for table in sorted(database.tables())
    ]
    database.close()
    if connection.path is None:
        return rows
    names = sorted(p.name for p in connection.path.parent.iterdir())
    return [*rows, names, connection.path.stat().st_mtime_ns]


def name(table: str) -> str:
    """As MLMD writes it; MySQL on Linux is particular about case."""
    known = (
        *("Artifact", "ArtifactProperty", "Association", "Attribution", "Context"),
        *("ContextProperty", "Event", "EventPath", "Execution", "ExecutionProperty"),
        *("MLMDEnv", "ParentContext", "ParentType", "Type", "TypeProperty"),
    )
    return {k.lower(): k for k in known}.get(table, table)


def test_a_viewer_does_not_make_a_store(store, tmp_path):
    with pytest.raises(StoreError, match=r"has no database|No metadata store at") as caught:
        open_reader(store)
    assert caught.value.exit_code == Exit.STORE_TROUBLE
    with pytest.raises(StoreError, match=r"has no database|No metadata store at"):
        open_reader(store, "mlmd")
    with pytest.raises(StoreError):
        backend(store).connect(store)
    assert not list(tmp_path.iterdir())


def test_a_viewer_does_not_fill_an_empty_database(store, kind, request):
    make_empty(store, request)
    for via in ("sql", "mlmd"):
        with pytest.raises(StoreError, match="is empty: no pipeline has written to it yet"):
            open_reader(store, via)
    if kind == "sqlite":
        assert store.path.stat().st_size == 0
    else:
        database = backend(store).connect(store)
        assert database.tables() == set()
        database.close()


def test_another_schema_version_is_named_and_left_alone(store, request):
    make_ready(store)
    change(store, request, "UPDATE MLMDEnv SET schema_version = 9")
    before = contents(store)
    for via in ("sql", "mlmd"):
        with pytest.raises(StoreError, match=r"schema version 9 .* works with version 10"):
            open_reader(store, via)
    for write in (check_writable, make_ready):
        with pytest.raises(StoreError, match="Nothing was changed"):
            write(store)
    assert contents(store) == before


def test_a_store_that_is_being_set_up(store, request):
    make_ready(store)
    change(store, request, "DELETE FROM MLMDEnv")
    with pytest.raises(StoreError, match="has no schema version yet"):
        open_reader(store)


def test_a_database_of_something_else(store, request):
    make_empty(store, request)
    change(store, request, "CREATE TABLE accounts (id INTEGER)")
    for via in ("sql", "mlmd"):
        with pytest.raises(StoreError, match="is a database, but not one of ML Metadata"):
            open_reader(store, via)
    with pytest.raises(StoreError, match="not one of ML Metadata"):
        make_ready(store)


def make_empty(store: Connection, request: pytest.FixtureRequest) -> None:
    if store.path is not None:
        store.path.touch()
    elif store.kind == "mysql":
        collation = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        request.getfixturevalue("mariadb").admin(f"CREATE DATABASE {store.database} {collation}")
    else:
        server = request.getfixturevalue("postgresql")
        server.admin(f"CREATE DATABASE {store.database} OWNER {USER}")


def change(store: Connection, request: pytest.FixtureRequest, statement: str) -> None:
    """Changes a store behind MLMD's back."""
    if store.path is not None:
        with sqlite3.connect(store.path) as connection:
            connection.execute(statement)
        connection.close()
    else:
        server = request.getfixturevalue("mariadb" if store.kind == "mysql" else store.kind)
        server.admin(statement, store.database)


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_corrupt_file(tmp_path, content):
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(content)
    for via in ("sql", "mlmd"):
        with pytest.raises(StoreError, match=f"Cannot read the metadata store {path}"):
            open_reader(Connection.parse(str(path)), via)
    with pytest.raises(StoreError, match="Cannot read"):
        make_ready(Connection.parse(str(path)))
    assert path.read_bytes() == content


def test_a_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(StoreError, match="is a folder, not a metadata store"):
        open_reader(Connection.parse(str(tmp_path)))


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("CREATE TABLE t AS WITH RECURSIVE n(i) AS "
                   "(SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n")
os._exit(9)
"""


def test_a_store_whose_writer_was_killed_is_mended_by_the_next_run(tmp_path):
    store = Connection.parse(str(tmp_path / "metadata.sqlite"))
    make_ready(store)
    before = contents(store)[:-1]
    start_python("-c", KILLED, str(store.path)).wait()
    assert (tmp_path / "metadata.sqlite-journal").exists()
    with pytest.raises(StoreError, match="was killed; the next run"):
        everything(open_reader(store))
    make_ready(store)
    assert contents(store)[:-1] == before


@pytest.fixture(params=("mysql", "postgresql"))
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql")
    return found


def test_nobody_answers(server):
    port = free_port()
    nowhere = Connection.parse(f"{server.kind}://{USER}@127.0.0.1:{port}/vision")
    with pytest.raises(
        StoreError, match=f"No metadata store answers at 127.0.0.1:{port}: .*refused"
    ):
        open_reader(nowhere)
    with pytest.raises(StoreError, match="Is the server running"):
        check_writable(nowhere, patience=0.5)
    unknown = Connection.parse(f"{server.kind}://{USER}@no.such.host.invalid/vision")
    with pytest.raises(StoreError, match=r"answers at no\.such\.host\.invalid"):
        open_reader(unknown)


def test_a_server_that_starts_a_little_later_is_waited_for(server):
    import socket
    import threading
    import time

    port = free_port()

    def forward() -> None:
        """Becomes the server, after a second, for a few connections."""
        time.sleep(1)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(10)
            for _ in range(2):
                ours, _ = listener.accept()
                theirs = socket.create_connection(("127.0.0.1", server.port))
                for a, b in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=pump, args=(a, b), daemon=True).start()

    threading.Thread(target=forward, daemon=True).start()
    make_ready(Connection.parse(server.url("late")))
    late = Connection.parse(server.url("late").replace(f":{server.port}/", f":{port}/"))
    check_writable(late, patience=20)


def pump(source: Any, sink: Any) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()


def test_a_wrong_password(server, monkeypatch):
    vision = Connection.parse(server.url("vision"))
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-one")
    with pytest.raises(StoreError, match=f"refused the user '{USER}'.*which is set") as caught:
        open_reader(vision)
    assert "wrong-one" not in str(caught.value)
    monkeypatch.delenv(PASSWORD_VARIABLE)
    with pytest.raises(StoreError, match="VISIONLINE_METADATA_PASSWORD, which is not set"):
        check_writable(vision)


def test_a_user_who_may_not_make_databases_is_told_the_command(mariadb, postgresql, monkeypatch):
    mariadb.admin("CREATE OR REPLACE USER guest@'127.0.0.1' IDENTIFIED BY 'guest'")
    mariadb.admin("GRANT SELECT ON granted.* TO guest@'127.0.0.1'")
    postgresql.admin("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    monkeypatch.setenv(PASSWORD_VARIABLE, "guest")
    with pytest.raises(StoreError, match="CREATE DATABASE IF NOT EXISTS `granted`"):
        make_ready(Connection.parse(mariadb.url("granted", "guest")))
    with pytest.raises(StoreError, match='CREATE DATABASE "granted" OWNER "guest"'):
        make_ready(Connection.parse(postgresql.url("granted", "guest")))
    postgresql.admin("CREATE DATABASE lent")
    with pytest.raises(StoreError, match='ALTER DATABASE lent OWNER TO "guest"'):
        make_ready(Connection.parse(postgresql.url("lent", "guest")))
    postgresql.admin("ALTER DATABASE lent OWNER TO guest")
    make_ready(Connection.parse(postgresql.url("lent", "guest")))


def test_to_look_a_user_needs_no_more_than_select(mariadb, postgresql, filled, monkeypatch):
    mariadb.admin("CREATE OR REPLACE USER viewer@'127.0.0.1' IDENTIFIED BY 'viewer'")
    mariadb.admin("GRANT SELECT ON filled.* TO viewer@'127.0.0.1'")
    postgresql.admin("CREATE ROLE viewer LOGIN PASSWORD 'viewer'")
    postgresql.admin("GRANT SELECT ON ALL TABLES IN SCHEMA public TO viewer", "filled")
    monkeypatch.setenv(PASSWORD_VARIABLE, "viewer")
    for server in (mariadb, postgresql):
        reader = open_reader(Connection.parse(server.url("filled", "viewer")))
        assert len(reader.latest_contexts("pipeline_run")) == 5
        reader.close()


def test_a_collation_without_case_is_refused_until_the_given_commands_are_run(mariadb):
    mariadb.admin("CREATE DATABASE blurred CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    store = Connection.parse(mariadb.url("blurred"))
    for _ in range(2):
        with pytest.raises(StoreError, match="collation utf8mb4_general_ci") as caught:
            make_ready(store)
        commands = re.findall(r"ALTER .*;", str(caught.value))
        assert commands
        config = store.mlmd_config()
        if len(commands) == 1:  # MLMD alone fills it in spite of that; then all are wrong
            builder = Builder(Path("unused"), connection=config)
            builder.run("RunA", run_properties={"config": ODD})
    for command in commands:
        mariadb.admin(command)
    make_ready(store)
    builder = Builder(Path("unused"), connection=store.mlmd_config())
    builder.run("runa")
    reader = open_reader(store)
    upper, lower = (reader.context("pipeline_run", n) for n in ("RunA", "runa"))
    assert upper and lower and upper.id != lower.id and upper.custom["config"] == ODD
    reader.close()


def test_a_storage_engine_without_transactions_is_refused(mariadb):
    make_ready(Connection.parse(mariadb.url("engine")))
    mariadb.admin("SET GLOBAL default_storage_engine = MyISAM")
    try:
        with pytest.raises(StoreError, match="storage engine MyISAM"):
            make_ready(Connection.parse(mariadb.url("engine")))
    finally:
        mariadb.admin("SET GLOBAL default_storage_engine = InnoDB")


def test_an_encoding_that_is_not_utf8_is_refused(postgresql):
    postgresql.admin(
        f"CREATE DATABASE ascii OWNER {USER} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    )
    with pytest.raises(StoreError, match="has the encoding LATIN1; expected UTF8"):
        make_ready(Connection.parse(postgresql.url("ascii")))


def test_a_way_to_log_in_that_mlmd_does_not_know(mariadb, monkeypatch):
    mariadb.admin(
        "CREATE OR REPLACE USER modern@'127.0.0.1' IDENTIFIED VIA ed25519 USING PASSWORD('x')"
    )
    monkeypatch.setenv(PASSWORD_VARIABLE, "x")
    with pytest.raises(StoreError, match="mysql_native_password alone"):
        make_ready(Connection.parse(mariadb.url("modern", "modern")))


def test_text_cannot_leave_its_quotes(store):
    """On PostgreSQL, MLMD alone makes a statement of this."""
    make_ready(store)
    text = "\\, 1); DROP TABLE Event; --"
    Builder(Path("unused"), connection=store.mlmd_config()).run(
        "run", run_properties={"error": text, "struct": {"a": "\\"}}, name=f"n{text}"
    )
    for via in ("sql", "mlmd"):
        reader = open_reader(store, via)
        run = reader.context("pipeline_run", "run")
        assert run and run.custom == {"error": text, "struct": json.dumps({"a": "\\"})}
        (pushed,) = reader.artifacts_by_type("PushedModel", {"model_name": f"n{text}"})
        assert reader.producers([pushed.id])
        reader.close()


def test_long_text_is_kept(store):
    """PostgreSQL refuses it in the index that MLMD makes."""
    make_ready(store)
    text = random.Random(0).randbytes(100_000).hex()
    Builder(Path("unused"), connection=store.mlmd_config()).run(
        "run", run_properties={"packages": text}, properties={"Trainer": {"config": text}}
    )
    make_ready(store)
    reader = open_reader(store)
    run = reader.context("pipeline_run", "run")
    assert run and run.custom["packages"] == text
    reader.close()


def test_making_a_store_ready_twice_changes_nothing(store):
    make_ready(store)
    before = contents(store)
    make_ready(store)
    check_writable(store)
    assert contents(store) == before


def test_the_password_is_in_no_config(store, kind):
    config = store.mlmd_config()
    assert PASSWORD not in str(config) and PASSWORD not in str(store)
    assert config.retry_options.max_num_retries > 5
    if kind != "sqlite":
        make_ready(store)
        assert metadata_store.MetadataStore(config).get_context_types() == []


def test_a_url_is_written_as_it_is_read():
    for text in (
        "mysql://vision@db.example.org:3307/lineage",
        "postgresql://vi%40sion@[::1]:5432/lineage",
        "/data/a b%20c/metadata.sqlite",
    ):
        assert str(Connection.parse(text)) == text
        assert Connection.parse(str(Connection.parse(text))) == Connection.parse(text)
    assert str(Connection.parse("mariadb://v@h/d")) == "mysql://v@h:3306/d"
    assert str(Connection.parse("postgres://v@h/d")) == "postgresql://v@h:5432/d"
    assert str(Connection.parse("mysql://v@localhost/d")) == "mysql://v@127.0.0.1:3306/d"
    assert str(Connection.parse("sqlite:///a%20b/c")) == "/a b/c"
    assert Connection.parse("a.sqlite").path == Path(os.getcwd(), "a.sqlite")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mysql://vision:s3cret@h/d", "leave the password out of the URL"),
        ("mysql://vision:s3/cret@h/d", "expected a path, sqlite:///PATH"),
        ("mysql:/vision:s3cret@h/d", "expected a path, sqlite:///PATH"),
        ("mysql://v@h/s3cret?ssl=1", "no options after ? or #"),
        ("mysql://v@[h/s3cret", "expected a path, sqlite:///PATH"),
        ("oracle://v@h/s3cret", "begins with oracle:"),
        ("mysql://v@h:0/d", "expected a port from 1 to 65535"),
        ("mysql://v@h:99999/d", "expected a path, sqlite:///PATH"),
        ("mysql://v@h", "expected a database's name"),
        ("mysql://v@h/a-b", "got 'a-b'"),
        ("mysql://v@h/1a", "got '1a'"),
        ("postgresql://v@h/d%27%20host=elsewhere", "expected a database's name"),
        ("postgresql://a%20b@h/d", "expected a user without spaces, quotes"),
        ("postgresql://a%27b@h/d", "expected a user without spaces, quotes"),
        ("mysql://h/d", "expected a user"),
        ("postgresql://v@%2Frun%2Fpostgresql/d", "expected a host's name or address"),
        ("mysql://v@/d", "expected a host's name or address"),
        ("sqlite://relative/s3cret", "expected a path, sqlite:///PATH"),
        ("sqlite://", "expected a path, sqlite:///PATH"),
        ("", "expected a path or URL, got nothing"),
    ],
)
def test_what_is_no_store_is_refused_and_not_repeated(text, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        Connection.parse(text)
    assert "s3" not in str(caught.value)


def test_what_ends_the_process_inside_mlmd_cannot_be_made():
    whole = {"host": "h", "port": 1, "user": "u", "database": "d"}
    for kind in ("mysql", "postgresql"):
        Connection(kind=kind, **whole)
        for name, nothing in (("host", ""), ("port", 0), ("user", ""), ("database", "")):
            with pytest.raises(ConfigError):
                Connection(kind=kind, **{**whole, name: nothing})
    with pytest.raises(ConfigError):
        Connection(kind="sqlite")


def test_the_command_line_tells_a_wrong_url_from_a_missing_store(cli, tmp_path):
    run = ("run", "--data", tmp_path, "--framework", "keras", "--model", "small_cnn")
    wrong = cli(*run, "--min-accuracy", "0.5", "--metadata", "mysql://vision:s3cret@h/d")
    assert wrong.returncode == 2 and "leave the password out" in wrong.stderr
    assert "s3cret" not in wrong.stderr + wrong.stdout
    for place in ("nothing.sqlite", f"mysql://vision@127.0.0.1:{free_port()}/d"):
        missing = cli("lineage", "model", "digits", "--metadata", place, cwd=tmp_path)
        assert missing.returncode == Exit.STORE_TROUBLE
        assert missing.stderr.startswith("visionline: No metadata store a")
    assert list(tmp_path.iterdir()) == []


def test_a_run_looks_at_its_store_before_it_claims_a_folder(cli, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name / "1.png")
    (tmp_path / "notes.sqlite").write_text("no database")
    done = cli(
        *("run", "--data", "images", "--framework", "keras", "--model", "small_cnn"),
        *("--min-accuracy", "0.5", "--output", "out", "--metadata", "notes.sqlite"),
        cwd=tmp_path,
    )
    assert done.returncode == Exit.STORE_TROUBLE
    assert "file is not a database" in done.stderr
    assert not (tmp_path / "out").exists()
