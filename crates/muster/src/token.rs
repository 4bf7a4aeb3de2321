use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};
use ingest::Allowed;
use model::{OrganisationName, Principal, PrincipalName, Role, Timestamp};
use serde_json::json;
use store::TokenRecord;

use crate::stored::{At, Shown, Why, now, table, time};

/// Let people and programs in, and out again
#[derive(Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make a token and print its secret, which is not kept and cannot be shown again
    #[command(
        group = ArgGroup::new("end").required(true),
        after_help = "Roles: viewer (sees), dispatcher (and changes statuses), commander (and may break the glass), administrator (units,\n\
        organisations, tokens), auditor (the audit, and no places), gateway (brings reports in, sees nothing).\n\
        Nobody may be administrator and auditor. A running server takes the token within a second.\n\n\
        Example:  muster token create --principal desk-3 --role dispatcher --org west --days 90"
    )]
    Create {
        /// Who holds it
        #[arg(long, value_name = "NAME")]
        principal: String,
        /// What it may do
        #[arg(long, value_name = "ROLE")]
        role: Role,
        /// Whose units it sees; all without it
        #[arg(long, value_name = "ORGANISATION")]
        org: Option<String>,
        /// How long it is valid, at most 400 days
        #[arg(long, value_name = "DAYS", group = "end")]
        days: Option<u16>,
        /// Until when it is valid, as in 2026-12-31T16:00:00Z
        #[arg(long, value_name = "TIME", group = "end", value_parser = time)]
        until: Option<Timestamp>,
        /// For role gateway: the devices that it may report for, as in tetra-lip:* or jt808:13900000001; all without it
        #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
        devices: Vec<String>,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        at: At,
    },
    /// End a token at once; a running server closes its door within a second
    Revoke {
        /// Its number, as `muster token list` shows it
        token: u64,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        at: At,
    },
    /// Show all tokens, also those that ended; never a secret
    List {
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        at: At,
    },
}

impl Token {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let local = Principal::local();
        match self.task {
            Task::Create { principal, role, org, days, until, devices, why, at } => {
                Allowed::new(&[], &devices).context("--devices")?;
                let name = PrincipalName::new(&principal).with_context(|| format!("--principal {principal:?}"))?;
                let organisation = org.as_deref().map(OrganisationName::new).transpose();
                let organisation = organisation.with_context(|| format!("--org {:?}", org.unwrap_or_default()))?;
                let by = why.by(&local);
                let in_days = |days: u16| by.now.shifted_ms(i64::from(days) * 86_400_000);
                let until = until.or(days.map(in_days)).context("--days or --until is missing")?;
                let holder = Principal { name, role, organisation };
                let secret = at.open_or_make()?.create_token_for(&by, &holder, until, &devices)?;
                eprintln!("Valid until {until}. Keep the secret now: it cannot be shown again.");
                println!("{secret}");
                Ok(())
            }
            Task::Revoke { token, why, at } => {
                at.open()?.revoke_token(&why.by(&local), token)?;
                println!("token {token} is revoked");
                Ok(())
            }
            Task::List { shown, at } => {
                list(&at.open()?.tokens()?, &shown);
                Ok(())
            }
        }
    }
}

fn list(tokens: &[TokenRecord], shown: &Shown) {
    let mut rows = table(["token", "principal", "role", "org", "created", "by", "until", "devices", ""]);
    let now = now();
    for TokenRecord { token, principal, created, created_by, expires, revoked, devices } in tokens {
        let organisation = principal.organisation.as_ref().map(|name| name.as_str());
        if shown.as_json() {
            let line = json!({
                "token": token,
                "principal": principal.name.as_str(),
                "role": principal.role.as_str(),
                "org": organisation,
                "created": created.to_string(),
                "created_by": created_by,
                "expires": expires.to_string(),
                "revoked": revoked.map(|time| time.to_string()),
                "devices": devices,
            });
            println!("{line}");
            continue;
        }
        let state = match revoked {
            Some(time) => format!("revoked {time}"),
            None if *expires <= now => "ended".to_owned(),
            None => String::new(),
        };
        rows.add_row([
            token.to_string(),
            principal.name.to_string(),
            principal.role.to_string(),
            organisation.unwrap_or("all").to_owned(),
            created.to_string(),
            created_by.clone(),
            expires.to_string(),
            if devices.is_empty() { String::new() } else { devices.join(" ") },
            state,
        ]);
    }
    if !shown.as_json() {
        println!("{rows}");
    }
}
