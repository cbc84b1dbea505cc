//! The Dockerfile and what its build sees.

use crate::options::option_of;
use crate::{path, read};

/// An instruction with its text, continuation lines joined.
struct Instruction {
    name: String,
    text: String,
}

fn instructions() -> Vec<Instruction> {
    let file = read("Dockerfile");
    let lines: Vec<&str> = file.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let instruction = |line: &str| {
        let (name, text) = line.trim().split_once(' ').unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Instruction { name: name.to_owned(), text }
    };
    joined.lines().filter(|line| !line.trim().is_empty()).map(instruction).collect()
}

fn texts(name: &str) -> Vec<String> {
    let found = instructions().into_iter().filter(|instruction| instruction.name == name);
    found.map(|instruction| instruction.text).collect()
}

/// The one instruction of a name.
fn text(name: &str) -> String {
    let mut found = texts(name);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found.remove(0)
}

/// Instructions of the last stage, the one that becomes the image.
fn image() -> Vec<Instruction> {
    let mut all = instructions();
    let last = all.iter().rposition(|instruction| instruction.name == "FROM").unwrap();
    all.split_off(last)
}

/// The variables of the image.
pub fn environment() -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    text("ENV").split_whitespace().map(pair).collect()
}

/// The list of an instruction in its exec form, which takes no shell.
fn exec_form(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("a shell would run {text}"))
}

#[test]
fn the_file_holds_instructions_that_docker_knows_and_nothing_else() {
    for instruction in instructions() {
        let known =
            ["FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT"];
        assert!(known.contains(&instruction.name.as_str()), "{} {}", instruction.name, instruction.text);
    }
}

#[test]
fn the_compiler_stays_in_the_first_stage_and_is_the_one_that_the_workspace_asks_for() {
    let stages = texts("FROM");
    let [build, image] = &stages[..] else { panic!("two stages") };
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    let tag = build.strip_prefix("rust:").and_then(|tag| tag.strip_suffix(" AS build")).unwrap();
    assert!(tag.starts_with(&format!("{version}.")), "{tag} is not {version}");
    // One C library for both.
    let release = tag.rsplit('-').next().unwrap();
    assert_eq!(*image, format!("debian:{release}-slim"));
    assert!(texts("RUN").iter().any(|run| run.contains("cargo build --release --locked --bin node")));
}

#[test]
fn the_image_does_not_run_as_root_and_a_platform_can_see_it() {
    let user = text("USER");
    let (uid, gid) = user.split_once(':').unwrap();
    let (uid, gid): (u32, u32) = (uid.parse().unwrap(), gid.parse().unwrap());
    assert!(uid > 999 && gid > 999);
    let image = image();
    let place = |name: &str| image.iter().position(|instruction| instruction.name == name).unwrap();
    assert!(place("USER") < place("ENTRYPOINT"));
    // What is made for this user is made while there still is root.
    let last_run = image.iter().rposition(|instruction| instruction.name == "RUN").unwrap();
    assert!(last_run < place("USER"));
    assert!(image[last_run].text.contains(&format!("useradd --uid {uid} --gid {gid} ")));
    assert!(image[last_run].text.contains(&format!("--owner {uid} --group {gid} --mode 0750 /data")));
}

#[test]
fn the_node_gets_signals_itself_as_no_shell_is_in_between() {
    assert_eq!(exec_form(&text("ENTRYPOINT")), ["/usr/local/bin/node"]);
    assert!(texts("COPY").contains(&"--from=build /out/node /usr/local/bin/node".to_owned()));
    assert_eq!(text("STOPSIGNAL"), "SIGTERM");
}

#[test]
fn what_a_node_keeps_is_on_the_volume() {
    let [volume] = &exec_form(&text("VOLUME"))[..] else { panic!("one volume") };
    let data = environment().into_iter().find(|(name, _)| name == "OUTPOST_DATA_DIR");
    assert_eq!(data.map(|(_, value)| value).as_ref(), Some(volume));
}

#[test]
fn variables_of_the_image_are_options_of_the_node_and_no_secrets() {
    for (name, _) in environment() {
        assert!(option_of(&name).is_some(), "{name}");
        assert!(!name.contains("TOKEN") && !name.contains("SECRET"), "{name}");
    }
}

#[test]
fn both_listeners_are_exposed() {
    assert_eq!(text("EXPOSE"), "8000 8001");
}

#[test]
fn the_image_trusts_the_usual_certificates_as_the_hub_is_reached_over_tls() {
    assert!(image().iter().any(|instruction| instruction.text.contains("ca-certificates")));
}

#[test]
fn the_build_sees_every_path_that_a_manifest_names() {
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let members: Vec<&str> = members.iter().map(|member| member.as_str().unwrap()).collect();
    let mut needed: Vec<String> = vec!["Cargo.toml".to_owned(), "Cargo.lock".to_owned()];
    for member in members {
        let file = format!("{member}/Cargo.toml");
        let manifest: toml::Table = read(&file).parse().unwrap();
        needed.push(file);
        for kind in ["test", "bin", "example", "bench"] {
            let targets = manifest.get(kind).and_then(|targets| targets.as_array());
            for target in targets.into_iter().flatten() {
                // Without a path it is where cargo looks by itself, below the member.
                let Some(source) = target.get("path").map(|path| path.as_str().unwrap()) else { continue };
                needed.push(source.strip_prefix("../").map_or(format!("{member}/{source}"), str::to_owned));
            }
        }
    }
    assert!(needed.len() > 10);
    for file in needed {
        assert!(path(&file).is_file(), "{file}");
        let first = file.split('/').next().unwrap();
        assert!(!ignored.contains(&first), "{file} is in .dockerignore");
    }
    assert!(ignored.contains(&"target") && ignored.contains(&".git"));
}
