//! What is built to be shipped has none of the bugs that the simulation can plant.

use std::process::Command;

/// The features of the workspace's crates in a build of `selection`, as cargo resolves them.
fn features(selection: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = ["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"];
    let mut command = Command::new(cargo);
    command.current_dir(crate::path("")).args(tree).args(["--format", "{p} [{f}]"]).args(selection);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn can_plant_bugs(tree: &str) -> bool {
    let mut lines = tree.lines().filter(|line| line.starts_with("outpost-sync "));
    let first = lines.next().expect("the node needs it").to_owned();
    std::iter::once(first.as_str()).chain(lines).any(|line| line.contains("mutations"))
}

#[test]
fn no_command_that_the_guides_give_builds_a_node_with_planted_bugs() {
    // From the root, as README and OPERATIONS say; and by name, as the Dockerfile may.
    assert!(!can_plant_bugs(&features(&[])));
    assert!(!can_plant_bugs(&features(&["--package", "outpost-node"])));
    // The whole workspace has it: there the assertion in the node's `main.rs` refuses a release build.
    assert!(can_plant_bugs(&features(&["--workspace"])));
    for file in ["README.md", "docs/OPERATIONS.md", "Dockerfile", "fly.toml"] {
        let text = crate::read(file);
        let mut builds = text.lines().filter(|line| line.contains("cargo build"));
        assert!(builds.all(|line| !line.contains("--workspace") && !line.contains("--all")), "{file}");
    }
}
