//! Where the store's database is, when it is not a file in the data directory.
//!
//! An address never holds the password: it would be read on the command line, in process lists and in logs. So no
//! mistake shows an address either, as it may hold one. Absent on purpose: reading the secret; the shell does.

use crate::config::Secret;
use crate::tree::Node;

/// A database and what it is entered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// `postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full`, without a password.
    pub url: String,
    /// Where the password is found; without one PostgreSQL's own environment variables and files are asked.
    pub password: Option<Secret>,
}

/// Parameters that an address may have.
const PARAMETERS: [&str; 7] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "application_name"];

/// Checks an address.
///
/// # Errors
/// What is allowed, without what was found.
pub fn check_url(url: &str) -> Result<(), String> {
    let form = || {
        format!("an address as postgres://USER@HOST:PORT/DATABASE, with no parameters but {}", PARAMETERS.join(", "))
    };
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).ok_or_else(form)?;
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').ok_or_else(form)?;
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut names = parameters.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next());
    if user.contains(':') || parameters.contains("pass") {
        return Err(
            "an address without a password: name its file in `store.password_file` or its environment variable \
            in `store.password_env` of the config file, or use PGPASSWORD or PostgreSQL's password file"
                .into(),
        );
    }
    let plain = |text: &str| !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '#' | '@'));
    let known = names.all(|name| name.is_some_and(|name| PARAMETERS.contains(&name)));
    let named = !database.is_empty() && !database.contains('/');
    if known && named && !host.is_empty() && [user, host, database, parameters].into_iter().all(plain) {
        Ok(())
    } else {
        Err(form())
    }
}

/// Reads the section `store`.
pub(crate) fn read(node: &Node<'_>) -> Option<Database> {
    let mut fields = node.object();
    let url = fields.need("url", "where the database is, as postgres://USER@HOST:PORT/DATABASE").and_then(|node| {
        let url = node.text()?;
        check_url(url).map_err(|allowed| node.wrong_unseen(allowed)).ok()?;
        Some(url.to_owned())
    });
    let file = fields.get("password_file").and_then(|node| node.text().map(|path| Secret::File(path.into())));
    let env = fields.get("password_env").and_then(|node| node.text().map(|name| Secret::Env(name.to_owned())));
    let password = match (file, env) {
        (Some(_), Some(_)) => {
            node.wrong("`password_file` or `password_env`, not both");
            None
        }
        (file, env) => file.or(env),
    };
    fields.end();
    Some(Database { url: url?, password })
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn addresses() {
        for (url, allowed) in [
            ("postgres://quell@db.example.net:5432/quell", true),
            ("postgresql://quell@127.0.0.1/quell?sslmode=verify-full&sslrootcert=/etc/ca.pem", true),
            ("postgres://db/quell", true),
            ("postgres://quell@[::1]:5432/quell", true),
            ("postgres://quell@%2Frun%2Fpostgresql/quell", true),
            ("postgres://quell:secret@db/quell", false),
            ("postgres://quell:@db/quell", false),
            ("postgres://quell@db/quell?password=secret", false),
            ("postgres://quell@db/quell?pass%77ord=secret", false),
            ("postgres://quell@db/quell?options=-c%20fsync", false),
            ("postgres://quell@db", false),
            ("postgres://quell@db/", false),
            ("postgres://quell@/quell", false),
            ("postgres://quell@db/a b", false),
            ("mysql://quell@db/quell", false),
            ("store.db", false),
        ] {
            let checked = check_url(url);
            assert_eq!(checked.is_ok(), allowed, "{url}: {checked:?}");
            assert!(checked.err().is_none_or(|error| !error.contains("secret")), "{url}");
        }
    }
}
