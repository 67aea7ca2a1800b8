//! What the pages say, in both languages. A test keeps the two lists alike.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::Value;

use crate::domain::language::Language;

mod account;

const TEXTS: &[(&str, &str, &str)] = &[
    ("title_login", "Sign in to Gantry", "登录 Gantry"),
    ("title_register", "Create an account", "注册账号"),
    ("title_device", "Connect a device", "连接设备"),
    ("title_consent", "Allow access?", "允许访问?"),
    ("title_logout", "Sign out", "退出登录"),
    ("title_confirm", "Confirm your registration", "确认注册"),
    ("title_message", "Gantry", "Gantry"),
    ("username", "User name", "用户名"),
    ("username_or_email", "User name or e-mail address", "用户名或邮箱"),
    ("email", "E-mail address", "邮箱"),
    ("display_name", "Name to show (optional)", "显示名称(可选)"),
    ("password", "Password", "密码"),
    ("new_password_hint", "At least 8 characters; several unrelated words are best.", "至少 8 个字符;建议使用多个不相关的词。"),
    ("sign_in", "Sign in", "登录"),
    ("sign_out", "Sign out", "退出登录"),
    ("register", "Create account", "注册"),
    ("no_account", "No account yet?", "还没有账号?"),
    ("have_account", "Have an account?", "已有账号?"),
    ("confirm", "Confirm", "确认"),
    ("continue", "Continue", "继续"),
    ("approve", "Approve", "同意"),
    ("deny", "Deny", "拒绝"),
    ("user_code", "Code shown on the device", "设备上显示的代码"),
    (
        "device_asks",
        "wants to act for you. Approve only if you started this yourself and the code is the one it shows:",
        "请求以您的身份访问。仅当您本人发起且代码与设备显示一致时才同意:",
    ),
    ("consent_asks", "would like to have from your account:", "请求获取您账号的以下内容:"),
    ("consent_revoke", "You can take this back at any time under connected applications.", "您可以随时在“已连接的应用”中撤回授权。"),
    ("client_home", "About this application", "关于此应用"),
    ("client_policy", "Its privacy policy", "隐私政策"),
    ("client_terms", "Its terms of use", "使用条款"),
    ("scope_openid", "Who you are (an identifier)", "您的身份标识"),
    ("scope_profile", "Your user name and display name", "您的用户名和显示名称"),
    ("scope_email", "Your e-mail address", "您的邮箱地址"),
    ("scope_groups", "The organisations and groups you belong to", "您所属的组织和组"),
    ("scope_roles", "Your roles", "您的角色"),
    ("scope_offline_access", "Access also while you are away", "在您离开时继续访问"),
    ("scope_api", "To act for you on this platform, with all your rights", "以您的身份和全部权限操作本平台"),
    ("scopes", "It may use:", "可使用的权限:"),
    ("signed_in_as", "Signed in as", "当前登录:"),
    ("logout_question", "Do you want to sign out of Gantry in this browser?", "确定要在此浏览器退出 Gantry 吗?"),
    ("wrong_password", "The user name or the password is wrong.", "用户名或密码错误。"),
    ("too_many", "Too many failed attempts. Wait a few minutes.", "失败次数过多,请稍后再试。"),
    ("busy", "Too many people are signing in right now. Try again in a moment.", "当前登录人数过多,请稍后再试。"),
    ("expired_form", "This page was open for too long. Please try again.", "页面已过期,请重试。"),
    ("unknown_code", "This code is not known or has expired.", "代码无效或已过期。"),
    ("closed", "Registration is closed. Ask an administrator for an account.", "注册已关闭,请联系管理员开通账号。"),
    ("device_approved", "The device is connected. You can close this page.", "设备已连接,可以关闭此页面。"),
    ("device_denied", "The device was refused. You can close this page.", "已拒绝该设备,可以关闭此页面。"),
    ("check_mail", "We have sent you a mail. Open the address in it to finish.", "我们已发送邮件,请打开其中的链接完成注册。"),
    ("confirm_question", "Press the button to activate your account.", "点击按钮激活账号。"),
    ("signed_out", "You are signed out.", "您已退出登录。"),
    ("bad_request", "This sign-in request is not valid. Go back to the application and try again.", "登录请求无效,请返回应用重试。"),
    (
        "directory_down",
        "The company's directory cannot be reached right now. Accounts of this platform itself still work.",
        "暂时无法连接企业目录;平台本地账号仍可登录。",
    ),
    (
        "link_needed",
        "An account with your e-mail address is here already. Sign in to it, then link the other account to it.",
        "已存在使用该邮箱的账号。请先登录该账号,再关联此外部账号。",
    ),
    ("sign_in_with", "Sign in with", "使用以下方式登录:"),
    ("company_sign_in", "Sign in with your company's account", "使用企业账号登录"),
    ("work_email", "Your e-mail address at work", "企业邮箱"),
    ("no_realm", "There is no company sign-in for this address.", "该邮箱没有对应的企业登录方式。"),
    ("go_on_to", "Go on to", "前往"),
    ("title_links", "Linked accounts", "关联账号"),
    ("link_account", "Link", "关联"),
    ("unlink_account", "Unlink", "取消关联"),
    ("no_links", "No account elsewhere is linked.", "尚未关联任何外部账号。"),
    ("linked", "The account is linked.", "账号已关联。"),
    ("unlinked", "The account is unlinked.", "账号已取消关联。"),
    ("link_taken", "This account is linked to somebody else here.", "该外部账号已关联到其他用户。"),
    ("link_exists", "You have another account there linked. Unlink that one first.", "您已关联该来源的另一个账号,请先取消关联。"),
    ("last_way_in", "This is the only way to sign in to your account. Set a password first.", "这是您唯一的登录方式,请先设置密码。"),
    ("provider_failed", "The other provider did not confirm who you are. Please try again.", "外部身份提供方未能确认您的身份,请重试。"),
    ("not_admitted", "This account is not admitted here. Ask an administrator.", "该账号不允许登录,请联系管理员。"),
    ("failed", "This did not work.", "操作未成功。"),
    ("title_certificate", "Sign in with a certificate", "使用证书登录"),
    ("certificate_hint", "Your browser will ask which certificate to show.", "浏览器将询问要出示哪个证书。"),
    (
        "certificate_none",
        "Your browser showed no certificate. Install one in the browser or insert your card, close the browser, and try again.",
        "浏览器未出示证书。请在浏览器中安装证书或插入智能卡,关闭浏览器后重试。",
    ),
    (
        "certificate_stale",
        "Whether this certificate was revoked cannot be said now: the list of its authority is out of date. Sign in another way, and tell an administrator of your organisation.",
        "目前无法确认此证书是否已被吊销:其机构的吊销列表已过期。请用其他方式登录,并告知组织管理员。",
    ),
    (
        "certificate_unknown",
        "This certificate is not bound to an account. Sign in another way, then bind it on the page of your account.",
        "该证书未绑定任何账号。请用其他方式登录,然后在账号页面绑定。",
    ),
    ("certificate_unusable", "This certificate cannot be used.", "该证书无法使用。"),
    ("certificate_taken", "This certificate is bound already.", "该证书已被绑定。"),
    ("certificates", "Certificates", "证书"),
    ("no_certificates", "No certificate signs you in.", "尚未绑定登录证书。"),
    ("add_certificate", "Bind a certificate", "绑定证书"),
    ("certificate_by_name", "and its successors from my organisation's authority", "以及本组织证书机构签发的后续证书"),
    ("back", "Back", "返回"),
    ("support", "Help:", "帮助:"),
    ("privacy", "Privacy", "隐私政策"),
    ("terms", "Terms", "使用条款"),
];

/// All texts by their keys, for templates. Made once: a page has use for a few dozen of some hundred.
pub fn value(language: Language) -> Value {
    static ENGLISH: LazyLock<Value> = LazyLock::new(|| Value::from_pairs(of(Language::English)));
    static CHINESE: LazyLock<Value> = LazyLock::new(|| Value::from_pairs(of(Language::Chinese)));
    match language {
        Language::English => ENGLISH.clone(),
        Language::Chinese => CHINESE.clone(),
    }
}

fn of(language: Language) -> BTreeMap<&'static str, &'static str> {
    TEXTS.iter().chain(account::TEXTS).map(|(key, english, chinese)| (*key, if language == Language::Chinese { *chinese } else { *english })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_there_once_in_both_languages() {
        assert_eq!(of(Language::English).len(), TEXTS.len() + account::TEXTS.len());
        for (key, english, chinese) in TEXTS.iter().chain(account::TEXTS) {
            assert!(!english.is_empty() && !chinese.is_empty(), "{key}");
            assert!(matches!(*key, "title_message" | "totp") || !chinese.is_ascii(), "{key}");
        }
    }
}
