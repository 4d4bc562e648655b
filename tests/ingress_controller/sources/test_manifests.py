"""Folders of manifests: what is found, what changed, and the last good state where one cannot know.

Times of files are set, not waited for: `settled` makes a file look written a minute ago.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingress_controller.sources import folders as folders_module
from ingress_controller.sources import manifests as module
from ingress_controller.sources.manifests import ManifestFolders, Scan

Write = Callable[[str, str], Path]


def service(name: str, port: int = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{ports: [{{port: {port}}}]}}\n"
    )


JSON = """{"apiVersion": "v1", "kind": "Service",
 "metadata": {"name": "c"}, "spec": {"ports": [{"port": 80}]}}"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file that looks a minute old, a little younger each time."""
    times = iter(range(1, 1000))

    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        age(path, 60 - next(times) / 100)
        return path

    return written


def age(path: Path, seconds: float) -> None:
    """Makes a file look written so long ago."""
    moment = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(moment, moment))


def changes(scan: Scan) -> dict[str, int | None]:
    """Port by name of each changed Service; None for one that is gone."""
    found = {}
    for key, item in scan.changes:
        assert key.kind == "Service"
        found[key.name] = None if item is None else item.spec.ports[0].port  # type: ignore[union-attr]  # the key says it
    return found


def codes(scan: Scan) -> list[str]:
    return [str(found.code) for found in scan.diagnostics]


def test_the_first_scan_reports_everything_and_the_next_nothing(
    tmp_path: Path, write: Write
) -> None:
    write("a.yaml", service("a"))
    write("sub/deeper/b.yml", service("b"))
    write("c.json", JSON)
    write("many.yaml", service("d") + "---\n" + service("e"))
    write(
        "list.yaml",
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Service, metadata: {name: f}, spec: {ports: [{port: 80}]}}\n",
    )
    write("notes.txt", service("g"))
    write(".hidden/h.yaml", service("h"))
    write("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: i}\n")
    write("values.yaml", "replicas: 3\n")
    folders = ManifestFolders([tmp_path])
    first = folders.scan()
    assert changes(first) == dict.fromkeys("abcdef", 80)
    assert first.diagnostics == ()
    assert folders.scan() == Scan((), ())


def test_only_what_changed_is_reported(tmp_path: Path, write: Write) -> None:
    write("a.yaml", service("a") + "---\n" + service("b"))
    write("c.yaml", service("c"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    write("a.yaml", service("a") + "---\n" + service("b", 81))
    assert changes(folders.scan()) == {"b": 81}
    write("a.yaml", service("a") + "---\n" + service("d"))
    assert changes(folders.scan()) == {"b": None, "d": 80}


def test_a_file_replaced_by_rename_is_read_even_with_equal_size_and_time(
    tmp_path: Path, write: Write
) -> None:
    path = write("a.yaml", service("a", 80))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    before = path.stat()
    other = write("a.new", service("a", 81))
    os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
    other.rename(path)
    assert changes(folders.scan()) == {"a": 81}


def test_a_file_read_right_after_it_was_written_is_read_once_more(
    tmp_path: Path, write: Write
) -> None:
    path = write("a.yaml", service("a", 80))
    age(path, 1)
    folders = ManifestFolders([tmp_path])
    folders.scan()
    before = path.stat()
    with path.open("r+") as file:  # the same inode, size and mtime: `stat` cannot tell
        file.write(service("a", 81))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert changes(folders.scan()) == {"a": 81}


def test_a_file_that_is_being_written_is_left_for_the_next_scan(
    tmp_path: Path, write: Write
) -> None:
    path = write("a.yaml", service("a") + "---\n" + service("b"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    path.write_text(service("a"))  # half of it
    age(path, 0)
    assert changes(folders.scan()) == {}
    path.write_text(service("a") + "---\n" + service("b", 81))
    age(path, 0.2)
    assert changes(folders.scan()) == {"b": 81}


def test_a_file_that_is_written_all_the_time_is_read_at_last(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("a"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    found = []
    for port in range(81, 86):
        path.write_text(service("a", port))
        age(path, 0)
        found.append(changes(folders.scan()))
    assert {} in found
    assert any(found)


def test_a_file_that_is_gone_is_believed_at_the_second_scan(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("a"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    path.unlink()
    assert changes(folders.scan()) == {}
    assert changes(folders.scan()) == {"a": None}
    assert folders.location(("Service", "default", "a")) is None  # type: ignore[arg-type]  # equal to a key


def test_a_file_that_an_editor_removes_for_a_moment_stays(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("a"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    path.unlink()
    assert changes(folders.scan()) == {}
    write("a.yaml", service("a", 81))
    assert changes(folders.scan()) == {"a": 81}
    assert changes(folders.scan()) == {}


@pytest.mark.parametrize(
    ("name", "broken", "line"),
    [
        pytest.param("a.yaml", "kind: {\n", 2, id="YAML"),
        pytest.param("a.json", "{\n,}", 2, id="JSON"),
        pytest.param("a.yaml", "{{ .Values }}\nkind: List", 1, id="a template"),
    ],
)
def test_a_malformed_file_leaves_the_last_good_state(
    tmp_path: Path, write: Write, name: str, broken: str, line: int
) -> None:
    path = write(name, JSON)
    folders = ManifestFolders([tmp_path])
    folders.scan()
    write(name, broken)
    for _ in range(2):
        scan = folders.scan()
        assert scan.changes == ()
        (found,) = scan.diagnostics
        assert (found.code, found.severity) == ("file-malformed", "error")
        assert (found.file, found.line) == (str(path), line)
        assert "last good version" in found.consequence
    write(name, JSON.replace("80", "81"))
    scan = folders.scan()
    assert changes(scan) == {"c": 81}
    assert scan.diagnostics == ()


def test_a_file_that_was_never_good_says_that_nothing_is_served(
    tmp_path: Path, write: Write
) -> None:
    write("a.yaml", "{")
    (found,) = ManifestFolders([tmp_path]).scan().diagnostics
    assert found.consequence == "nothing of it is served"


def test_a_file_that_is_too_large_leaves_the_last_good_state(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILE_SIZE", 200)
    write("a.yaml", service("a"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    write("a.yaml", service("a", 81) + "#" * 200)
    scan = folders.scan()
    assert scan.changes == ()
    assert codes(scan) == ["file-unreadable"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_leaves_the_last_good_state(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", service("a"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    write("a.yaml", service("a", 81))
    path.chmod(0)
    scan = folders.scan()
    assert scan.changes == ()
    assert codes(scan) == ["file-unreadable"]
    path.chmod(0o600)
    assert changes(folders.scan()) == {"a": 81}


def test_a_malformed_object_harms_only_itself(tmp_path: Path, write: Write) -> None:
    write("a.yaml", service("a") + "---\n" + service("b").replace("80", '"80"'))
    folders = ManifestFolders([tmp_path])
    scan = folders.scan()
    assert changes(scan) == {"a": 80}
    (found,) = scan.diagnostics
    assert found.code == "object-malformed"
    assert str(found.object) == "Service default/b"
    assert found.field == "spec.ports[0].port"
    assert found.line == 6
    assert "counts as absent" in found.consequence


def test_a_malformed_object_leaves_its_last_good_version(tmp_path: Path, write: Write) -> None:
    write("a.yaml", service("a") + "---\n" + service("b"))
    folders = ManifestFolders([tmp_path])
    folders.scan()
    write("a.yaml", service("a", 81) + "---\n" + service("b").replace("80", '"82"'))
    scan = folders.scan()
    assert changes(scan) == {"a": 81}
    assert "last good version" in scan.diagnostics[0].consequence


def test_an_old_api_version_is_refused_with_the_new_one(tmp_path: Path, write: Write) -> None:
    write("a.yaml", "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: a}\n")
    (found,) = ManifestFolders([tmp_path]).scan().diagnostics
    assert found.code == "version-unsupported"
    assert "networking.k8s.io/v1" in found.remedy


def test_an_object_in_two_files_is_taken_from_the_first(tmp_path: Path, write: Write) -> None:
    write("b.yaml", service("x", 81))
    first = write("a.yaml", service("x", 80))
    folders = ManifestFolders([tmp_path])
    scan = folders.scan()
    assert changes(scan) == {"x": 80}
    (found,) = scan.diagnostics
    assert (found.code, found.severity) == ("object-repeated", "warning")
    assert found.file.endswith("b.yaml")
    assert str(first) in found.message
    first.unlink()
    folders.scan()
    scan = folders.scan()
    assert changes(scan) == {"x": 81}
    assert scan.diagnostics == ()


def test_folders_come_in_the_order_given(tmp_path: Path, write: Write) -> None:
    write("one/z.yaml", service("x", 80))
    write("two/a.yaml", service("x", 81))
    assert changes(ManifestFolders([tmp_path / "two", tmp_path / "one"]).scan()) == {"x": 81}
    assert changes(ManifestFolders([tmp_path / "one", tmp_path / "two"]).scan()) == {"x": 80}


def test_a_folder_given_twice_repeats_nothing(tmp_path: Path, write: Write) -> None:
    write("sub/a.yaml", service("a"))
    scan = ManifestFolders([tmp_path, tmp_path, tmp_path / "sub"]).scan()
    assert changes(scan) == {"a": 80}
    assert scan.diagnostics == ()


def test_an_object_twice_in_a_file_is_taken_from_the_first_place(
    tmp_path: Path, write: Write
) -> None:
    write("a.yaml", service("x", 80) + "---\n" + service("x", 81))
    scan = ManifestFolders([tmp_path]).scan()
    assert changes(scan) == {"x": 80}
    (found,) = scan.diagnostics
    assert (found.code, found.line) == ("object-repeated", 6)


def test_a_missing_folder_is_a_diagnostic_and_is_read_when_it_comes(
    tmp_path: Path, write: Write
) -> None:
    folders = ManifestFolders([tmp_path / "later"])
    scan = folders.scan()
    assert codes(scan) == ["folder-unreadable"]
    assert scan.diagnostics[0].severity == "error"
    path = write("later/a.yaml", service("a"))
    scan = folders.scan()
    assert changes(scan) == {"a": 80}
    assert scan.diagnostics == ()
    path.rename(tmp_path / "a.yaml")
    path.parent.rmdir()
    for _ in range(3):
        scan = folders.scan()
        assert scan.changes == ()  # an unmounted folder is no order to stop serving
        assert codes(scan) == ["folder-unreadable"]


def test_a_single_file_may_stand_for_a_folder(tmp_path: Path, write: Write) -> None:
    assert changes(ManifestFolders([write("a.txt", service("a"))]).scan()) == {"a": 80}


def test_a_mounted_config_map_is_swapped_by_its_link(tmp_path: Path, write: Write) -> None:
    """The kubelet writes `..DATE/a.yaml`, and moves the link `..data` in one rename."""
    write("..one/a.yaml", service("a", 80))
    write("..two/a.yaml", service("a", 81))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    folders = ManifestFolders([tmp_path])
    assert changes(folders.scan()) == {"a": 80}
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert changes(folders.scan()) == {"a": 81}
    assert folders.scan().diagnostics == ()


def test_links_in_a_circle_and_to_nowhere_do_no_harm(tmp_path: Path, write: Write) -> None:
    write("sub/a.yaml", service("a"))
    (tmp_path / "sub/up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "nowhere.yaml").symlink_to("missing.yaml")
    (tmp_path / "twice").symlink_to("sub")
    scan = ManifestFolders([tmp_path]).scan()
    assert changes(scan) == {"a": 80}


def test_a_pipe_is_not_opened(tmp_path: Path, write: Write) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    write("a.yaml", service("a"))
    assert changes(ManifestFolders([tmp_path]).scan()) == {"a": 80}


def test_files_are_bounded(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders_module, "MAX_FILES", 2)
    for name in "abc":
        write(f"{name}.yaml", service(name))
    scan = ManifestFolders([tmp_path]).scan()
    assert changes(scan) == {"a": 80, "b": 80}
    assert "more than 2 files" in scan.diagnostics[0].message


def test_an_object_knows_its_file_and_line(tmp_path: Path, write: Write) -> None:
    path = write("a.yaml", "# one\n" + service("a") + "---\n" + service("b"))
    folders = ManifestFolders([tmp_path])
    for key, _ in folders.scan().changes:
        assert folders.location(key) == (str(path), {"a": 2, "b": 7}[key.name])


def test_a_repeated_key_is_warned_of(tmp_path: Path, write: Write) -> None:
    write("a.yaml", service("a") + "spec: {ports: [{port: 81}]}\n")
    scan = ManifestFolders([tmp_path]).scan()
    assert changes(scan) == {"a": 81}
    assert [(d.code, d.line) for d in scan.diagnostics] == [("key-repeated", 5)]
