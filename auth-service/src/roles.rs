//! Which service may call which method: the whole table.

/// A service that calls us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Gateway,
    Worker,
}

/// A method of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Identify,
    CreateToken,
    ListTokens,
    RevokeToken,
    EditSandbox,
    EditRetention,
    IssueJobToken,
}

impl Role {
    pub(crate) fn may(self, method: Method) -> bool {
        match (self, method) {
            (
                Self::Gateway,
                Method::Identify
                | Method::CreateToken
                | Method::ListTokens
                | Method::RevokeToken
                | Method::EditSandbox
                | Method::EditRetention,
            )
            | (Self::Worker, Method::IssueJobToken) => true,
            (Self::Gateway, Method::IssueJobToken)
            | (
                Self::Worker,
                Method::Identify
                | Method::CreateToken
                | Method::ListTokens
                | Method::RevokeToken
                | Method::EditSandbox
                | Method::EditRetention,
            ) => false,
        }
    }
}

impl Method {
    /// The method of a gRPC path.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        match path.strip_prefix("/hookmill.auth.v1.Auth/")? {
            "Identify" => Some(Self::Identify),
            "CreateToken" => Some(Self::CreateToken),
            "ListTokens" => Some(Self::ListTokens),
            "RevokeToken" => Some(Self::RevokeToken),
            "EditSandbox" => Some(Self::EditSandbox),
            "EditRetention" => Some(Self::EditRetention),
            "IssueJobToken" => Some(Self::IssueJobToken),
            _ => None,
        }
    }
}
