//! What is known of social sign-in providers: where they are, how they want to be asked, where their answers hold what.
//! Each by its own documentation, named beside it; every address and field can be set otherwise.

use gantry_contract::upstream::{Endpoints, Fields, Oauth2, Preset};

/// How the token endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStyle {
    /// RFC 6749 section 4.1.3.
    Form,
    /// The same fields as JSON (Feishu).
    Json,
    /// `clientId`, `clientSecret`, `code`, `grantType` as JSON; the answer has `accessToken` (DingTalk).
    JsonCamel,
    /// A token of the application itself, by GET; the code goes to the person endpoint (WeCom).
    Application,
}

/// How the person endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonStyle {
    /// RFC 6750 section 2.1.
    Bearer,
    /// The token in a header of their own (DingTalk).
    Header(&'static str),
    /// `access_token` and `code` as parameters (WeCom).
    Query,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    pub token: TokenStyle,
    pub person: PersonStyle,
    /// The parameter of the authorization request that holds the client's id.
    pub client_parameter: &'static str,
    /// The parameter in which the code comes back.
    pub code_parameter: &'static str,
    /// They take a code challenge (RFC 7636).
    pub pkce: bool,
    /// Parameters every authorization request has.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Answers with a number that is not 0 in one of these are refusals.
    pub error_fields: &'static [&'static str],
    pub response_type: bool,
}

const PLAIN: Manners = Manners {
    token: TokenStyle::Form,
    person: PersonStyle::Bearer,
    client_parameter: "client_id",
    code_parameter: "code",
    pkce: true,
    fixed: &[],
    error_fields: &[],
    response_type: true,
};

pub fn manners(preset: Preset) -> Manners {
    match preset {
        Preset::Github | Preset::Gitlab | Preset::Google | Preset::Custom => PLAIN,
        // developer.work.weixin.qq.com: "Web login component", "gettoken", "getuserinfo", "user/get".
        Preset::Wecom => Manners {
            token: TokenStyle::Application,
            person: PersonStyle::Query,
            client_parameter: "appid",
            pkce: false,
            fixed: &[("login_type", "CorpApp")],
            error_fields: &["errcode"],
            response_type: false,
            ..PLAIN
        },
        // open.dingtalk.com: "Sign in to third-party websites", "userAccessToken", "contact/users/me".
        Preset::Dingtalk => Manners {
            token: TokenStyle::JsonCamel,
            person: PersonStyle::Header("x-acs-dingtalk-access-token"),
            code_parameter: "authCode",
            pkce: false,
            fixed: &[("prompt", "consent")],
            ..PLAIN
        },
        // open.feishu.cn: "authen/v1/authorize", "authen/v2/oauth/token", "authen/v1/user_info".
        Preset::Feishu => Manners { token: TokenStyle::Json, error_fields: &["code"], ..PLAIN },
    }
}

/// The settings with what is empty filled in by the preset.
pub fn resolved(given: &Oauth2) -> Oauth2 {
    let (authorize, token, person, details) = endpoints(given.preset);
    let (id, username, email, email_verified, display_name) = fields(given.preset);
    let or = |text: &str, usual: &str| if text.trim().is_empty() { usual.to_owned() } else { text.trim().to_owned() };
    Oauth2 {
        scopes: if given.scopes.is_empty() { scopes(given.preset).iter().map(|s| (*s).to_owned()).collect() } else { given.scopes.clone() },
        endpoints: Endpoints {
            authorize: or(&given.endpoints.authorize, authorize),
            token: or(&given.endpoints.token, token),
            person: or(&given.endpoints.person, person),
            details: or(&given.endpoints.details, details),
        },
        fields: Fields {
            id: or(&given.fields.id, id),
            username: or(&given.fields.username, username),
            email: or(&given.fields.email, email),
            email_verified: or(&given.fields.email_verified, email_verified),
            display_name: or(&given.fields.display_name, display_name),
            groups: given.fields.groups.clone(),
        },
        ..given.clone()
    }
}

fn scopes(preset: Preset) -> &'static [&'static str] {
    match preset {
        Preset::Github => &["read:user", "user:email"],
        Preset::Gitlab => &["read_user"],
        Preset::Google => &["openid", "profile", "email"],
        Preset::Dingtalk => &["openid"],
        Preset::Wecom | Preset::Feishu | Preset::Custom => &[],
    }
}

/// Authorization, token, person, details.
fn endpoints(preset: Preset) -> (&'static str, &'static str, &'static str, &'static str) {
    match preset {
        Preset::Github => (
            "https://github.com/login/oauth/authorize",
            "https://github.com/login/oauth/access_token",
            "https://api.github.com/user",
            "https://api.github.com/user/emails",
        ),
        Preset::Gitlab => ("https://gitlab.com/oauth/authorize", "https://gitlab.com/oauth/token", "https://gitlab.com/api/v4/user", ""),
        Preset::Google => {
            ("https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token", "https://openidconnect.googleapis.com/v1/userinfo", "")
        }
        Preset::Wecom => (
            "https://login.work.weixin.qq.com/wwlogin/sso/login",
            "https://qyapi.weixin.qq.com/cgi-bin/gettoken",
            "https://qyapi.weixin.qq.com/cgi-bin/auth/getuserinfo",
            "https://qyapi.weixin.qq.com/cgi-bin/user/get",
        ),
        Preset::Dingtalk => (
            "https://login.dingtalk.com/oauth2/auth",
            "https://api.dingtalk.com/v1.0/oauth2/userAccessToken",
            "https://api.dingtalk.com/v1.0/contact/users/me",
            "",
        ),
        Preset::Feishu => (
            "https://accounts.feishu.cn/open-apis/authen/v1/authorize",
            "https://open.feishu.cn/open-apis/authen/v2/oauth/token",
            "https://open.feishu.cn/open-apis/authen/v1/user_info",
            "",
        ),
        Preset::Custom => ("", "", "", ""),
    }
}

/// Id, user name, address, whether it was verified, name to show.
fn fields(preset: Preset) -> (&'static str, &'static str, &'static str, &'static str, &'static str) {
    match preset {
        // The addresses come from the list, with their own marks.
        Preset::Github => ("/id", "/login", "", "", "/name"),
        Preset::Gitlab => ("/id", "/username", "/email", "/confirmed_at", "/name"),
        Preset::Google => ("/sub", "/email", "/email", "/email_verified", "/name"),
        // Names and addresses are kept by the company, not by the person; they are not marked as verified.
        Preset::Wecom => ("/userid", "/userid", "/biz_mail", "", "/name"),
        Preset::Dingtalk => ("/unionId", "/nick", "/email", "", "/nick"),
        Preset::Feishu => ("/data/union_id", "/data/en_name", "/data/enterprise_email", "", "/data/name"),
        Preset::Custom => ("", "", "", "", ""),
    }
}
