//! `token`: what machines join with.

use jiff::Timestamp;
use model::{token::Role, view::TokenRow};
use serde_json::json;

use crate::{
    args::Token,
    client::Client,
    error::Error,
    output::{
        Out, Tone,
        amount::span,
        json,
        table::{Cell, Table},
    },
};

/// Carries out `token`.
pub async fn run(args: &Token, client: &Client, out: &mut Out) -> Result<(), Error> {
    match args {
        Token::Create { role, ttl, .. } => {
            let role: Role = (*role).into();
            let made = client.create_token(role, ttl.0).await?;
            if out.is_json() {
                let value =
                    json!({"id": made.id, "token": made.token, "expires_at": made.expires_at});
                return json::document(out, &value);
            }
            out.note(&format!("token {} is good for one machine, for {ttl}", made.id));
            if role == Role::Scheduler {
                out.note(
                    "on the machine: siso-scheduler --data-dir DIR --join HOST:7400 --token-file FILE \
                     --advertise HOST:7400",
                );
            }
            out.data_line(&made.token)
        }
        Token::Ls => {
            let tokens = client.tokens().await?;
            if out.is_json() {
                return json::document(out, &tokens);
            }
            if out.look.quiet {
                return tokens.iter().try_for_each(|token| out.data_line(&token.id));
            }
            table(&tokens, Timestamp::now()).print(out, "no tokens")
        }
        Token::Revoke { id, .. } => {
            let written = client.revoke_token(*id).await?;
            if out.is_json() {
                return json::document(out, &written);
            }
            let done = if written.changed {
                "is revoked"
            } else {
                "was of no use before: nothing to change"
            };
            out.data_line(&format!("token {id} {done}"))
        }
    }
}

/// Tokens as a table.
pub fn table(tokens: &[TokenRow], now: Timestamp) -> Table {
    let mut table = Table::new(&["TOKEN", "ROLE", "STATE", "AGE", "EXPIRES"]);
    for token in tokens {
        let tone = if token.state == "valid" { Tone::Good } else { Tone::Faint };
        table.row([
            Cell::new(token.id.as_str()),
            Cell::new(token.role.as_str()),
            Cell::new(token.state.as_str()).tone(tone),
            Cell::amount(crate::output::amount::age(&token.created_at, now)),
            Cell::new(expiry(&token.expires_at, now).as_str()),
        ]);
    }
    table
}

pub(super) fn expiry(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => match u64::try_from(at.as_second() - now.as_second()) {
            Ok(ahead) => format!("in {}", span(ahead)),
            Err(_) => "over".to_owned(),
        },
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    #[test]
    fn tokens_say_how_long_they_are_good_for() {
        let token = |id: &str, state: &str, expires_at: &str| TokenRow {
            id: id.to_owned(),
            role: "node".to_owned(),
            created_at: "2026-03-01T11:57:00Z".to_owned(),
            expires_at: expires_at.to_owned(),
            state: state.to_owned(),
        };
        let tokens = [
            token("k1", "valid", "2026-03-01T12:57:00Z"),
            token("k2", "expired", "2026-03-01T11:58:00Z"),
        ];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&tokens, now).render(&streams(Look::plain()).0), @r"
        TOKEN   ROLE   STATE     AGE   EXPIRES
        k1      node   valid      3m   in 57m
        k2      node   expired    3m   over
        ");
    }
}
