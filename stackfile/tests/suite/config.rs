//! The normalised form: long forms, filled in, and a stack file again.

use crate::support::Case;
use serde_json::json;

const STACK: &str = "
name: shop
x-team: {name: brain, size: 7}
services:
  web:
    image: nginx:${TAG:-1.27}
    command: echo 'a b' $$HOME
    ports: ['8080:80']
    environment: [A=1, TOKEN]
    depends_on: [db]
    volumes: ['data:/d:ro', './html:/h']
    mem_limit: 1g
    healthcheck: {test: curl x, interval: 90s}
  db:
    image: postgres
    networks: [back]
networks: {back: {internal: yes}}
volumes: {data: }
";

#[test]
fn short_forms_are_written_out() {
    let config = Case::new(STACK).config().unwrap();
    let web = json!({
        "image": "nginx:1.27",
        "command": ["echo", "a b", "$HOME"],
        "ports": [{"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"}],
        "environment": {"A": "1", "TOKEN": null},
        "depends_on": {"db": {"condition": "service_started", "required": true}},
        "volumes": [
            {"type": "volume", "source": "data", "target": "/d", "read_only": true, "volume": {}},
            {
                "type": "bind",
                "source": "/home/me/shop/html",
                "target": "/h",
                "bind": {"create_host_path": true},
            },
        ],
        "mem_limit": "1073741824",
        "healthcheck": {"test": ["CMD-SHELL", "curl x"], "interval": "1m30s"},
        "networks": {"default": null},
    });
    assert_eq!(config.tree["services"]["web"], web);
    assert_eq!(config.tree["name"], "shop");
    assert_eq!(config.tree["x-team"], json!({"name": "brain", "size": 7}));
    assert_eq!(config.tree["volumes"], json!({"data": {"name": "shop_data"}}));
    let networks = json!({"back": {"internal": true, "name": "shop_back"}, "default": {"name": "shop_default"}});
    assert_eq!(config.tree["networks"], networks);
}

#[test]
fn the_yaml_reads_as_itself() {
    let first = Case::new(STACK).variable("TOKEN", "a$b: \"c\" #d\n- e").config().unwrap();
    let second = Case::new(&first.to_yaml()).config().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(second.tree, first.tree);
    assert_eq!(second.to_yaml(), first.to_yaml());
}

#[test]
fn what_a_cluster_refuses_is_still_shown() {
    let text = "services: {web: {build: ./app, secrets: [s], x-siso: {other: 1}}}\nsecrets: {s: {file: s.txt}}";
    let tree = Case::new(text).config().unwrap().tree;
    assert_eq!(tree["services"]["web"]["build"], json!({"context": "/home/me/shop/app"}));
    assert_eq!(tree["secrets"]["s"]["file"], "/home/me/shop/s.txt");
    assert!(Case::new(text).load().is_err());
}

#[test]
fn json_is_one_document_with_a_newline() {
    let json = Case::new(STACK).config().unwrap().to_json();
    assert!(json.starts_with("{\n") && json.ends_with("}\n"));
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
}
