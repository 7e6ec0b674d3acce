//! `scripts/simulate`, with this very simulator: what it has tried, and what it says of that.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A copy of the script in a folder of its own, where it notes what has failed.
struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::create_dir_all(folder.path().join("scripts")).unwrap();
        fs::create_dir_all(folder.path().join("weltenwind-ws/tests/simulator")).unwrap();
        fs::copy(root.join("scripts/simulate"), folder.path().join("scripts/simulate")).unwrap();
        let script = Self { folder };
        fs::write(script.kept(), "").unwrap();
        script
    }

    /// Where seeds are kept that have failed.
    fn kept(&self) -> PathBuf {
        self.folder.path().join("weltenwind-ws/tests/simulator/seeds.txt")
    }

    /// Another build: it does what this one does, and then `more`.
    fn build(&self, name: &str, more: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let this = std::env::current_exe().unwrap();
        fs::write(&path, format!("#!/bin/sh\n'{}' \"$@\" || exit\n{more}\n", this.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Tries four seeds in two steps.
    fn run(&self, simulator: &Path, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(self.folder.path().join("scripts/simulate"));
        command.args(args).arg("0..4").env("WW_CHUNK", "2").env("WW_SIMULATOR", simulator);
        let target = self.folder.path().join("target");
        let Output { status, stderr, .. } = command.env("CARGO_TARGET_DIR", target).output().unwrap();
        (status.success(), String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn the_script_tries_the_seeds_of_each_build_once() {
    let script = Script::new();
    let (engine, changed) = (script.build("engine", ""), script.build("changed", "# Another engine."));

    let (passed, said) = script.run(&engine, &[]);
    assert!(passed && said.contains("up to 2: 0 failed") && said.contains("up to 4: 0 failed"), "{said}");
    let (passed, said) = script.run(&engine, &[]);
    assert!(passed && said.contains("nothing is left of 0..4") && !said.contains("a second"), "{said}");
    let (passed, said) = script.run(&engine, &["--fresh"]);
    assert!(passed && said.contains("up to 2: 0 failed"), "{said}");

    let (passed, said) = script.run(&changed, &[]);
    assert!(passed && said.contains("up to 2: 0 failed") && said.contains("up to 4: 0 failed"), "{said}");
}

#[test]
fn the_script_remembers_what_failed_before_it_was_interrupted() {
    let script = Script::new();
    // Seed 1 fails, and with 2 the machine gives out for as long as there is no file `mended`.
    let failing = "case $WW_SEEDS,$WW_SKIP in 0..2,) echo 'seed 1: it broke'; exit 101;; esac
        case $WW_SEEDS in 2..4) [ -e mended ] || exit 137;; esac";
    let failing = script.build("failing", failing);

    let (passed, said) = script.run(&failing, &[]);
    assert!(!passed && said.contains("1 # it broke") && said.contains("up to 2: 1 failed"), "{said}");
    assert_eq!(fs::read_to_string(script.kept()).unwrap(), "1 # it broke\n");
    fs::write(script.folder.path().join("mended"), "").unwrap();

    for expected in ["up to 4: 1 failed", "nothing is left of 0..4"] {
        let (passed, said) = script.run(&failing, &[]);
        assert!(!passed && said.contains(expected), "{said}");
        assert!(said.contains("tried before with this build, 1 failed: 1\n"), "{said}");
    }
}

#[test]
fn the_script_takes_a_simulator_that_tried_nothing_for_a_failure() {
    let script = Script::new();
    let empty = script.folder.path().join("empty");
    fs::write(&empty, "#!/bin/sh\necho 'test result: ok. 0 passed; 0 failed'\n").unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();

    let (passed, said) = script.run(&empty, &[]);

    assert!(!passed && said.contains("0 passed") && !said.contains("up to"), "{said}");
}
