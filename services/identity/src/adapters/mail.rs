//! Mail by SMTP.

use anyhow::Context;
use gantry_kernel::Problem;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::config::Smtp;

#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &Smtp) -> anyhow::Result<Self> {
        let builder = match config.security.as_str() {
            "tls" => AsyncSmtpTransport::<Tokio1Executor>::relay(&config.host)?,
            "none" => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host),
            _ => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(&config.host)?,
        };
        let mut builder = builder.port(config.port).timeout(Some(std::time::Duration::from_secs(10)));
        if let Some(username) = &config.username {
            let file = config.password_file.as_ref().context("identity.smtp.password_file is missing")?;
            let password = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
            builder = builder.credentials(Credentials::new(username.clone(), password.trim().to_owned()));
        }
        Ok(Self { transport: builder.build(), from: config.from.parse().context("identity.smtp.from")? })
    }

    /// # Errors
    /// An address that is none, or a mail server that does not take it.
    pub async fn send(&self, to: &str, subject: &str, text: String) -> Result<(), Problem> {
        let to: Mailbox = to.parse().map_err(|_| Problem::invalid("email", "must be an e-mail address"))?;
        let message =
            Message::builder().from(self.from.clone()).to(to).subject(subject).header(ContentType::TEXT_PLAIN).body(text).map_err(Problem::internal)?;
        self.transport.send(message).await.map_err(|error| Problem::unavailable("the mail server").with_source(error))?;
        Ok(())
    }
}
