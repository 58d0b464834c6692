//! The real servers take the configurations, and keep to them.

use std::time::Duration;

use hookmill::up::server::{Server, free_port, start_on_free_port};
use hookmill::up::valkey::USERS;

use crate::ask::{ask, ask_unnamed, greet_nats};
use crate::host::{Data, host};

#[tokio::test]
async fn valkey_users_can_do_their_work_and_no_more() {
    let data = Data::new();
    let (server, handle) =
        start_on_free_port(&host(), |port| Server::valkey(data.ingredients(), port)).await.unwrap();
    for user in USERS {
        let password = data.credentials.valkey_password(user);
        let allowed = |command| ask(server.addr(), user, password, command);
        for command in [
            &["SET", "hm:{w}:x", "1"][..],
            &["HSET", "hm:{w}:h", "a", "1"],
            &["HPEXPIRE", "hm:{w}:h", "100000", "FIELDS", "1", "a"],
            &["ZADD", "hm:{w}:z", "1", "a"],
            &["PEXPIRE", "hm:{w}:x", "100000"],
            &["EVAL", "return redis.call('GET', KEYS[1])", "1", "hm:{w}:x"],
            &["SCRIPT", "LOAD", "return redis.call('TIME')"],
            &["UNLINK", "hm:{w}:x"],
            &["INFO", "server"],
            &["CONFIG", "GET", "maxmemory-policy"],
            &["PING"],
            &["MULTI"],
            &["CLIENT", "SETNAME", "x"],
            &["WAITAOF", "0", "0", "10"],
        ] {
            let answer = allowed(command).await;
            assert!(answer.is_ok(), "{user}: {command:?}: {answer:?}");
        }
        for command in [
            &["GET", "other"][..],
            &["SET", "hm", "1"],
            &["EVAL", "return redis.call('GET', 'other')", "0"],
            &["FLUSHALL"],
            &["KEYS", "*"],
            &["SCAN", "0"],
            &["CONFIG", "SET", "maxmemory", "1"],
            &["SHUTDOWN"],
            &["ACL", "LIST"],
            &["DEBUG", "SLEEP", "1"],
            &["MONITOR"],
            &["SUBSCRIBE", "x"],
            &["PUBLISH", "x", "y"],
            &["SCRIPT", "FLUSH"],
            &["CLIENT", "KILL", "TYPE", "normal"],
            &["REPLICAOF", "127.0.0.1", "1"],
            &["SWAPDB", "0", "1"],
            &["MIGRATE", "127.0.0.1", "1", "hm:x", "0", "1"],
        ] {
            let error = allowed(command).await.expect_err(&format!("{user} may not {command:?}"));
            let refused = ["NOPERM", "ACL failure", "not allowed"].iter().any(|word| error.contains(word));
            assert!(refused, "{command:?}: {error}");
        }
    }
    handle.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn valkey_takes_nobody_else() {
    let data = Data::new();
    let (server, handle) =
        start_on_free_port(&host(), |port| Server::valkey(data.ingredients(), port)).await.unwrap();
    let swapped = data.credentials.valkey_password("worker");
    for (user, password) in [("gateway", swapped), ("gateway", ""), ("default", ""), ("nobody", swapped)] {
        let error = ask(server.addr(), user, password, &["PING"]).await.unwrap_err();
        assert!(error.contains("WRONGPASS"), "{user} {password:?}: {error}");
    }
    let error = ask_unnamed(server.addr(), &["GET", "hm:x"]).await.unwrap_err();
    assert!(error.contains("NOAUTH"), "{error}");
    handle.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn nats_takes_its_users_and_nobody_else() {
    let data = Data::new();
    let (server, handle) =
        start_on_free_port(&host(), |port| Server::nats(data.ingredients(), port, None)).await.unwrap();
    let addr = server.addr();
    for user in broker::permissions::users() {
        greet_nats(addr, user.name, data.credentials.nats_password(user.name)).await.unwrap();
        assert!(greet_nats(addr, user.name, "wrong").await.is_err());
    }
    assert!(greet_nats(addr, "gateway", data.credentials.nats_password("worker")).await.is_err());
    assert!(greet_nats(addr, "", "").await.is_err());
    let password = data.credentials.nats_password("gateway");
    let info = greet_nats(addr, "gateway", password).await.unwrap();
    assert!(info.contains("\"jetstream\":true") && info.contains("\"server_name\":\"hookmill\""), "{info}");
    handle.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn nats_counters_are_served_when_asked_for() {
    let data = Data::new();
    let monitor = free_port().unwrap();
    let (_, handle) =
        start_on_free_port(&host(), |port| Server::nats(data.ingredients(), port, Some(monitor)))
            .await
            .unwrap();
    let counters =
        reqwest::get(format!("http://127.0.0.1:{monitor}/varz")).await.unwrap().text().await.unwrap();
    assert!(counters.contains("\"in_msgs\""), "{counters}");
    handle.stop(Duration::from_secs(5)).await.unwrap();
}
