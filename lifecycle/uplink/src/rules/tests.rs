use super::*;

fn rules() -> Rules {
    let address = |text: &str| text.parse().unwrap();
    Rules {
        allowed: vec!["10.1.0.0/16".parse().unwrap()],
        refused: vec![address("10.1.0.9"), address("203.0.113.9")],
        open: vec!["10.2.0.1:8000".parse().unwrap(), "127.0.0.1:8000".parse().unwrap()],
        resolvers: vec![address("127.0.0.53"), address("10.96.0.10")],
    }
}

#[test]
fn the_world_is_reached_and_what_lies_beside_us_is_not() {
    let rules = rules();
    for yes in [
        "203.0.113.7:80",
        "8.8.8.8:53",
        "[2001:db8::1]:443",
        "[64:ff9b::808:808]:53",
        // allowed, and the API at its port
        "10.1.0.8:5432",
        "10.2.0.1:8000",
    ] {
        let to = yes.parse().unwrap();
        assert_eq!(rules.way(to), Some(to), "{yes}");
    }
    for no in [
        // private, and beside the API
        "10.2.0.1:8001",
        "10.2.0.2:8000",
        "172.16.0.1:80",
        "172.31.255.255:80",
        "192.168.1.1:80",
        "100.64.0.1:80",
        "198.18.0.1:80",
        "[fd00::1]:80",
        // services
        "10.1.0.9:4222",
        "203.0.113.9:4222",
        // ourselves, the link, everybody
        "127.0.0.1:8000",
        "127.9.9.9:80",
        "0.0.0.0:80",
        "169.254.169.254:80",
        "255.255.255.255:67",
        "224.0.0.251:5353",
        "[::1]:80",
        "[::]:80",
        "[fe80::1]:80",
        "[ff02::1]:80",
        // secrets of clouds
        "[fd00:ec2::254]:80",
        "[fd20:ce::254]:80",
        "[fd00:ec2::23]:80",
        "[fd00:c1::a9fe:a9fe]:80",
        "168.63.129.16:80",
        "100.100.100.200:80",
        "192.0.0.192:80",
        // the same in other clothes
        "[::ffff:127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[64:ff9b::a00:1]:80",
        "[2002:7f00:1::]:80",
        "[64:ff9b:1::a00:1]:80",
    ] {
        assert_eq!(rules.way(no.parse().unwrap()), None, "{no}");
    }
}

#[test]
fn name_servers_are_seen_one_after_the_other_and_answer_at_one_port() {
    let way = |to: &str| rules().way(to.parse().unwrap()).map(|way| way.to_string());
    assert_eq!(way("198.18.0.2:53").as_deref(), Some("127.0.0.53:53"));
    assert_eq!(way("198.18.0.3:53").as_deref(), Some("10.96.0.10:53"));
    assert_eq!(way("198.18.0.4:53"), None);
    assert_eq!(way("198.18.0.2:54"), None);
    assert_eq!(way("198.18.0.1:53"), None);
}

#[test]
fn a_door_leads_to_what_is_open_alone() {
    assert_eq!(rules().behind_door(8000), Some("127.0.0.1:8000".parse().unwrap()));
    assert_eq!(rules().behind_door(8001), None);
}
