use super::*;
use crate::{Kind, User};

fn key(name: &str) -> Key {
    Key::scoped(Kind::User, &"demo".parse().unwrap(), name)
}

fn user(name: &str, email: &str) -> Bytes {
    let user = User {
        workspace: "demo".parse().unwrap(),
        username: name.into(),
        email: email.into(),
        is_admin: false,
        operator: false,
        disabled: false,
        created_at_ms: 0,
    };
    records::encode(&key(name), &user).unwrap().into()
}

fn emails(table: &Table<User>, name: &str) -> Option<String> {
    table.get(&key(name)).map(|user| user.email.clone())
}

#[test]
fn an_older_revision_never_wins() {
    let table = Table::<User>::new(watch::Sender::default());
    table.apply(&key("a"), 5, Some(&user("a", "new@x"))).unwrap();
    table.apply(&key("a"), 3, Some(&user("a", "old@x"))).unwrap();
    assert_eq!(emails(&table, "a").as_deref(), Some("new@x"));
    table.apply(&key("a"), 7, None).unwrap();
    table.apply(&key("a"), 6, Some(&user("a", "old@x"))).unwrap();
    assert_eq!(emails(&table, "a"), None, "a deletion is a write like any other");
    assert!(table.indexed("new@x").is_empty() && table.indexed("old@x").is_empty());
}

#[test]
fn a_full_load_drops_what_is_gone_and_keeps_what_was_written_meanwhile() {
    let table = Table::<User>::new(watch::Sender::default());
    table.begin_load();
    table.apply(&key("gone"), 1, Some(&user("gone", "g@x"))).unwrap();
    table.apply(&key("stays"), 2, Some(&user("stays", "s@x"))).unwrap();
    table.end_load();
    table.begin_load();
    assert_eq!(emails(&table, "gone").as_deref(), Some("g@x"), "until the load is complete");
    table.apply(&key("own"), 9, Some(&user("own", "o@x"))).unwrap();
    table.apply(&key("stays"), 2, Some(&user("stays", "s@x"))).unwrap();
    table.end_load();
    assert_eq!(emails(&table, "gone"), None);
    assert!(table.indexed("g@x").is_empty());
    assert_eq!(emails(&table, "own").as_deref(), Some("o@x"));
    assert_eq!(emails(&table, "stays").as_deref(), Some("s@x"));
    assert_eq!(table.all().len(), 2);
}

#[test]
fn a_load_wins_over_higher_revisions_of_a_store_that_was_lost() {
    let table = Table::<User>::new(watch::Sender::default());
    table.begin_load();
    table.apply(&key("a"), 100, Some(&user("a", "before@x"))).unwrap();
    table.end_load();
    table.begin_load();
    table.apply(&key("a"), 4, Some(&user("a", "after@x"))).unwrap();
    table.end_load();
    assert_eq!(emails(&table, "a").as_deref(), Some("after@x"));
    assert!(table.indexed("before@x").is_empty());
}

#[test]
fn the_index_follows_its_record() {
    let table = Table::<User>::new(watch::Sender::default());
    table.apply(&key("a"), 1, Some(&user("a", "one@x"))).unwrap();
    table.apply(&key("b"), 2, Some(&user("b", "one@x"))).unwrap();
    assert_eq!(table.indexed("one@x").len(), 2);
    table.apply(&key("a"), 3, Some(&user("a", "two@x"))).unwrap();
    assert_eq!(table.indexed("one@x").len(), 1);
    assert_eq!(table.indexed("two@x").len(), 1);
}

#[test]
fn an_unreadable_record_hides_the_older_one() {
    let table = Table::<User>::new(watch::Sender::default());
    table.apply(&key("a"), 1, Some(&user("a", "one@x"))).unwrap();
    let newer = Bytes::from_static(br#"{"v":2}"#);
    assert!(matches!(table.apply(&key("a"), 2, Some(&newer)), Err(CatalogError::NewerFormat { .. })));
    assert_eq!(emails(&table, "a"), None);
}

#[test]
fn states() {
    let table = Table::<User>::new(watch::Sender::default());
    let state = table.state();
    table.begin_load();
    assert_eq!(*state.borrow(), WatchState::Loading);
    table.broken();
    assert_eq!(*state.borrow(), WatchState::Loading);
    table.end_load();
    assert_eq!(*state.borrow(), WatchState::Current);
    table.broken();
    assert_eq!(*state.borrow(), WatchState::Behind);
}
