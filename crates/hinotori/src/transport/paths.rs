//! The paths of a mount. Empty segments are ignored, as in Plug, whose `path_info` has none.
//!
//! phoenix.js requests `/socket//websocket` for `new Socket("/socket/")`.

use actix_web::{Resource, web};

/// The most variable parts of a pattern; actix-web panics at more.
const MAX_VARIABLES: usize = 16;

/// A transport's path as most clients write it, and with more slashes. The latter comes last, because it is matched by
/// a regular expression, at a fifth of the cost of a connect and join.
pub(crate) fn resources(path: &str, transport: &str) -> [Resource; 3] {
    patterns(path, transport).map(web::resource)
}

fn patterns(path: &str, transport: &str) -> [String; 3] {
    let path = format!("{path}/{transport}");
    let slashed = format!("{path}/");
    let any = with_any_slashes(&path);
    [path, slashed, any]
}

/// The pattern with any number of slashes wherever it has one, and at its end. A slash within braces belongs to a
/// variable's own expression.
fn with_any_slashes(path: &str) -> String {
    let mut left = MAX_VARIABLES.saturating_sub(path.matches('{').count());
    let (mut pattern, mut depth) = (String::new(), 0_usize);
    for character in path.chars() {
        pattern.push(character);
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            // the last is for the end
            '/' if depth == 0 && left > 1 => {
                left -= 1;
                pattern.push_str(&format!("{{_slashes{left}:/*}}"));
            }
            _ => {}
        }
    }
    if left > 0 { pattern + "{_slashes:/*}" } else { pattern }
}

#[cfg(test)]
mod tests {
    use actix_web::dev::{Path, ResourceDef};

    use super::*;

    fn is_served(mount: &str, path: &str) -> bool {
        patterns(mount, "websocket").into_iter().any(|pattern| ResourceDef::new(pattern).is_match(path))
    }

    #[test]
    fn empty_segments_make_no_difference_wherever_they_are() {
        for path in [
            "/api/socket/websocket",
            "/api/socket/websocket/",
            "//api/socket/websocket",
            "/api//socket/websocket",
            "/api/socket//websocket",
            "/api/socket/websocket//",
            "///api////socket//websocket///",
        ] {
            assert!(is_served("/api/socket", path), "{path}");
        }
        for path in [
            "/apisocket/websocket",
            "/api/socketwebsocket",
            "/api/socket/websocket/x",
            "/api/socket/web/socket",
            "/x/api/socket/websocket",
            "/api/socket/websocketx",
            "/api/ /socket/websocket",
        ] {
            assert!(!is_served("/api/socket", path), "{path}");
        }
        assert!(is_served("", "//websocket") && is_served("/a.b", "//a.b/websocket"));
        assert!(!is_served("/a.b", "//aXb/websocket"));
    }

    #[test]
    fn the_variables_of_a_mount_are_what_they_were() {
        let [.., any] = patterns("/{tenant}/{rest:a/b}", "websocket");
        let mut path = Path::new("//acme//a/b//websocket");
        assert!(ResourceDef::new(any).capture_match_info(&mut path));
        assert_eq!((path.get("tenant"), path.get("rest")), (Some("acme"), Some("a/b")));
    }

    #[test]
    fn a_mount_of_any_depth_is_served() {
        for depth in 0..40 {
            let mount = "/a".repeat(depth);
            assert!(is_served(&mount, &format!("{mount}/websocket")));
            let variables: String = (0..depth.min(MAX_VARIABLES)).map(|n| format!("/{{x{n}}}")).collect();
            let path = "/a".repeat(depth.min(MAX_VARIABLES)) + &mount;
            assert!(is_served(&format!("{variables}{mount}"), &format!("{path}/websocket")));
        }
    }
}
