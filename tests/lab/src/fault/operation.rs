//! The servers of the lab and the operations a fault or a log line can name.

use crate::naming::named;

named! {
    /// One of the lab's servers.
    Service, "service" {
        /// The Workload Fleet Manager.
        Wfm = "wfm",
        /// The trust-bundle service (Margo Identity Service).
        Mis = "mis",
        /// The OCI registry.
        Registry = "registry",
    }
}

named! {
    /// One operation of one server.
    Operation, "operation" {
        /// `PUT /api/v1/capabilities/{deviceId}`
        PutCapabilities = "put-capabilities",
        /// `DELETE /api/v1/capabilities/{deviceId}`
        DeleteCapabilities = "delete-capabilities",
        /// `GET /api/v1/deployments`
        GetManifest = "get-manifest",
        /// `GET /api/v1/bundles/{digest}`
        GetBundle = "get-bundle",
        /// `GET /api/v1/deployments/{deploymentId}/{digest}`
        GetDeployment = "get-deployment",
        /// `POST /api/v1/deployments/{deploymentId}/status`
        PostStatus = "post-status",
        /// `GET /.well-known/margo`
        Discovery = "discovery",
        /// `GET` of the trust bundle.
        TrustBundle = "trust-bundle",
        /// `GET /v2/`
        Ping = "ping",
        /// `GET` or `HEAD` of an image manifest or index.
        PullManifest = "pull-manifest",
        /// `GET` or `HEAD` of a blob.
        PullBlob = "pull-blob",
        /// Everything that writes to the registry.
        Push = "push",
        /// `GET /v2/{name}/tags/list` and `GET /v2/_catalog`.
        List = "list",
        /// `GET /token`
        Token = "token",
    }
}

impl Operation {
    /// The server that has this operation.
    pub fn service(self) -> Service {
        match self {
            Self::PutCapabilities
            | Self::DeleteCapabilities
            | Self::GetManifest
            | Self::GetBundle
            | Self::GetDeployment
            | Self::PostStatus => Service::Wfm,
            Self::Discovery | Self::TrustBundle => Service::Mis,
            Self::Ping
            | Self::PullManifest
            | Self::PullBlob
            | Self::Push
            | Self::List
            | Self::Token => Service::Registry,
        }
    }
}
