//! Webhooks as their callers see them.

use serde_json::json;
use system_tests::System;

#[tokio::test]
async fn by_path_and_by_hash_async_and_sync() {
    let system = System::start().gateways(2).workers(2).await;
    let client = system.client();
    let hash = client.deploy("f/a/double", "python3", "def main(n: int):\n    return n * 2\n").await;
    let other = client.at(system.gateway(1));
    let answer = other.wait("f/a/double", json!({"n": 21})).await.expect(200);
    assert_eq!(answer.text(), "42");
    assert_eq!(hash.len(), 16);
}
