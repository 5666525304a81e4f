use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn a_redirection_is_followed_on_the_same_origin_only() {
    let url = Url::parse("https://sv.sv.example/api/sv/version").unwrap();
    let follow = |status, location: &str| redirect::follow(&url, status, Some(location.as_bytes()));
    assert_eq!(follow(200, "/x"), redirect::Step::Here);
    assert_eq!(follow(304, "/x"), redirect::Step::Here);
    let there = redirect::Step::To(Url::parse("https://sv.sv.example/x").unwrap());
    assert_eq!(follow(302, "/x"), there);
    assert_eq!(follow(307, "https://sv.sv.example:443/x"), there);
    for elsewhere in [
        "http://sv.sv.example/x",
        "https://login.example/?state=secret",
        "https://sv.sv.example:8443/x",
        "//evil.example/x",
        "https://user:secret@sv.sv.example/x",
        "file:///etc/passwd",
        "https://",
    ] {
        let redirect::Step::Refused(why) = follow(302, elsewhere) else {
            panic!("{elsewhere} was followed")
        };
        assert!(!why.contains("secret"), "{why}");
    }
    assert!(matches!(redirect::follow(&url, 302, None), redirect::Step::Refused(_)));
    assert!(matches!(
        redirect::follow(&url, 302, Some(b"\xff")),
        redirect::Step::Refused(_)
    ));
}

#[test]
fn a_token_is_one_word_and_goes_over_tls_or_stays_on_this_machine() {
    for good in ["abc.def", " abc.def\n", "Bearer abc.def", "bearer  abc.def\r\n"] {
        let header = Token::new(good).unwrap().header().unwrap();
        assert!(header.is_sensitive());
        assert_eq!(header.to_str().unwrap(), "Bearer abc.def");
    }
    for wrong in ["", "  ", "Bearer ", "a b", "a\nb", "ä"] {
        let Err(why) = Token::new(wrong) else {
            panic!("{wrong:?} was taken")
        };
        assert_eq!(why.exit_code(), 2);
    }
    let token = Token::new("abc").unwrap();
    let client = |url: &str| Client::new(address(url), Settings::default(), Some(&token));
    assert!(client("http://sv.sv.example").is_err());
    assert!(client("http://127.0.0.1.evil.example").is_err());
    for fine in ["http://127.0.0.1:5014", "http://[::1]:5014", "http://localhost:1"] {
        assert!(client(fine).is_ok(), "{fine}");
    }
    let allowed = Settings {
        allows_plain_http: true,
        ..Settings::default()
    };
    assert!(Client::new(address("http://sv-app.sv:5014"), allowed, Some(&token)).is_ok());
    assert!(Client::new(address("http://sv.sv.example"), Settings::default(), None).is_ok());
}

#[test]
fn an_address_is_a_web_servers_and_holds_no_password() {
    for wrong in [
        "",
        "sv.example",
        "ftp://sv.example",
        "file:///x",
        "https://",
        "https://me:hunter2@sv.example",
        "https://me@sv.example",
    ] {
        let why = wrong.parse::<Address>().unwrap_err();
        assert!(why.exit_code() == 2 && !why.to_string().contains("hunter2"), "{why}");
    }
    let base = address("https://sv.sv.example/?timestamp=1#x");
    assert_eq!(base.to_string(), "https://sv.sv.example");
    let joined = base.join("/api/sv/version", &[("a", "b:c&d e")]);
    assert_eq!(joined.as_str(), "https://sv.sv.example/api/sv/version?a=b%3Ac%26d+e");
    let below = address("https://gate.example/sv/").join("/api", &[]);
    assert_eq!(below.as_str(), "https://gate.example/sv/api");
}
