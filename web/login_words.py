"""Every word of the login page, in both languages."""

LANGUAGES = {"zh": "zh-CN", "en": "en-GB"}

WORDS = {
    "en": {
        "title": "Log in",
        "name": "Name",
        "password": "Password",
        "log_in": "Log in",
        "other": "中文",
        "why_wrong": "This name and this password do not belong together.",
        "why_rate_limited": "Too many attempts. Wait a minute, then try again.",
        "why_expired": "Your session has ended. Log in again.",
        "why_revoked": "Your access has been changed or withdrawn. Log in again, or ask who looks after Storewatch.",
    },
    "zh": {
        "title": "登录",
        "name": "用户名",
        "password": "密码",
        "log_in": "登录",
        "other": "English",
        "why_wrong": "用户名或密码不正确。",
        "why_rate_limited": "尝试次数过多，请等一分钟后再试。",
        "why_expired": "您的会话已结束，请重新登录。",
        "why_revoked": "您的访问权限已被更改或收回。请重新登录，或联系 Storewatch 的管理员。",
    },
}


def preferred(accepted: str) -> str:
    """Return the language that an Accept-Language header asks for, of those there are."""
    asked = []
    for part in accepted.split(","):
        tag, _, weight = part.strip().partition(";q=")
        language = tag.lower().partition("-")[0]
        if language in WORDS:
            asked.append((_weight(weight), language))
    return max(asked, key=lambda one: one[0], default=(1.0, "en"))[1]


def _weight(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0
