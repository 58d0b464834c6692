//! Deploying: immutable versions, their lineage, and what is read back.

use serde_json::{Value, json};
use system_tests::System;

#[tokio::test]
async fn versions_have_a_lineage_and_are_read_by_path_and_hash() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    let first = client.deploy("f/a/b", "bash", "echo 1").await;
    let second = client.deploy("f/a/b", "bash", "echo 2").await;
    let other = client.at(system.gateway(1));
    let get = async |at: &str| other.get_path(&format!("scripts/get/{at}")).send().await.expect(200).json();
    let head = get("p/f/a/b").await;
    assert_eq!((&head["hash"], &head["content"]), (&json!(second), &json!("echo 2")));
    assert_eq!((&head["parent_hashes"], &head["archived"]), (&json!([first]), &json!(false)));
    let old = get(&format!("h/{first}")).await;
    assert_eq!((&old["content"], &old["archived"]), (&json!("echo 1"), &json!(true)));
    for key in
        ["path", "summary", "description", "created_by", "created_at", "language", "kind", "extra_perms"]
    {
        assert!(!head[key].is_null(), "{key}");
    }
    client.get_path("scripts/get/p/f/a/absent").send().await.expect(404);
    client.get_path("scripts/get/h/0123456789abcdef").send().await.expect(404);
    client.get_path("scripts/get/h/short").send().await.expect(400);
}

#[tokio::test]
async fn a_hash_is_of_the_content_and_a_noop_makes_no_version() {
    let system = System::start().await;
    let client = system.client();
    let create = async |query: &str, settings: Value| {
        let mut script = json!({"path": "f/a/b", "summary": "", "description": "", "content": "echo 1", "language": "bash"});
        script.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        client.post(&format!("scripts/create{query}")).json(script).send().await
    };
    let first = create("", json!({})).await.expect(201).text();
    assert!(
        first.len() == 16 && first.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
        "{first}"
    );
    let conflict = create("", json!({"content": "echo 2"})).await.expect(400).text();
    assert!(conflict.contains("f/a/b") && conflict.contains(&first), "{conflict}");
    let noop = create("?skip_if_noop=true", json!({"auto_parent": true})).await.expect(201).text();
    assert_eq!(noop, first);
    let second = create("", json!({"content": "echo 2", "parent_hash": first})).await.expect(201).text();
    let stale = create("", json!({"content": "echo 3", "parent_hash": first})).await.expect(400).text();
    assert!(stale.contains(&first) || stale.contains("parent"), "{stale}");
    let absent =
        create("", json!({"content": "echo 3", "parent_hash": "00000000000000ff"})).await.expect(400).text();
    assert!(absent.contains("parent"), "{absent}");
    let head = client.get_path("scripts/get/p/f/a/b").send().await.expect(200).json();
    assert_eq!(head["hash"], second);
}

#[tokio::test]
async fn of_many_deploys_at_once_the_lineage_stays_a_line() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    client.deploy("f/a/b", "bash", "echo first").await;
    let clients = [client.clone(), client.at(system.gateway(1))];
    let deploys = (0..10).map(|n| {
        let client = &clients[n % 2];
        async move { client.try_deploy("f/a/b", "bash", &format!("echo {n}"), json!({})).await }
    });
    let answers = futures::future::join_all(deploys).await;
    let made: Vec<String> =
        answers.iter().filter(|answer| answer.status == 201).map(system_tests::Answer::text).collect();
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 400 | 409 | 503)), "{answers:?}");
    let head = client.get_path("scripts/get/p/f/a/b").send().await.expect(200).json();
    assert_eq!(head["parent_hashes"].as_array().unwrap().len(), made.len(), "{head}");
    assert!(made.contains(&head["hash"].as_str().unwrap().to_owned()));
}

#[tokio::test]
async fn large_sources_pass_whole() {
    let system = System::start().gateways(2).await;
    let client = system.client();
    for size in [60_000, 70_000, 1_000_000] {
        let source = format!("# {}\ndef main():\n    return {size}\n", "x".repeat(size));
        let path = format!("f/a/large{size}");
        client.deploy(&path, "python3", &source).await;
        let other = client.at(system.gateway(1));
        assert_eq!(other.wait(&path, json!({})).await.expect(200).text(), size.to_string());
        let shown = other.get_path(&format!("scripts/get/p/{path}")).send().await.expect(200).json();
        assert!(shown["content"] == source, "{size}");
    }
}

#[tokio::test]
async fn the_instance_tells_of_itself() {
    let system = System::start().await;
    let client = system.client();
    let nobody = client.anonymous();
    assert_eq!(nobody.get_path("/api/version").send().await.expect(200).text(), "CE v1.584.0");
    let openapi = nobody.get_path("/api/openapi.json").send().await.expect(200).json();
    let paths = openapi["paths"].as_object().unwrap();
    assert!(
        paths.contains_key("/api/w/{workspace}/jobs/run/p/{path}"),
        "{:?}",
        paths.keys().collect::<Vec<_>>()
    );
    let exists = async |id: &str| {
        client.post("/api/workspaces/exists").json(json!({"id": id})).send().await.expect(200).json()
    };
    assert_eq!((exists("main").await, exists("nowhere").await), (json!(true), json!(false)));
    let me = client.get_path("/api/users/whoami").send().await.expect(200).json();
    assert_eq!((&me["email"], &me["super_admin"]), (&json!("admin@hookmill.test"), &json!(true)));
    let here = client.get_path("users/whoami").send().await.expect(200).json();
    assert_eq!((&here["username"], &here["is_admin"]), (&json!("admin"), &json!(true)));
}
