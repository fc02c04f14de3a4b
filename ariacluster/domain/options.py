"""The aria2 options that a task may set, and why the tempting others are refused.

An allow-list: what is not here is not passed on. Nothing in it names a path of the node, a program, or a setting that
belongs to the whole engine. Source: aria2 manual, "OPTIONS".
"""

ALLOWED = frozenset(
    {
        # connections and speed
        "connect-timeout", "lowest-speed-limit", "max-connection-per-server", "max-download-limit", "max-file-not-found",
        "max-tries", "max-upload-limit", "min-split-size", "retry-wait", "reuse-uri", "split", "stream-piece-selector",
        "timeout", "uri-selector",
        # HTTP and FTP
        "check-certificate", "conditional-get", "content-disposition-default-utf8", "enable-http-keep-alive",
        "enable-http-pipelining", "ftp-passwd", "ftp-pasv", "ftp-reuse-connection", "ftp-type", "ftp-user", "header",
        "http-accept-gzip", "http-auth-challenge", "http-no-cache", "http-passwd", "http-user", "referer", "remote-time",
        "ssh-host-key-md", "use-head", "user-agent",
        # proxies
        "all-proxy", "all-proxy-passwd", "all-proxy-user", "ftp-proxy", "ftp-proxy-passwd", "ftp-proxy-user",
        "http-proxy", "http-proxy-passwd", "http-proxy-user", "https-proxy", "https-proxy-passwd", "https-proxy-user",
        "no-proxy", "proxy-method",
        # BitTorrent and Metalink
        "bt-enable-lpd", "bt-exclude-tracker", "bt-external-ip", "bt-force-encryption", "bt-hash-check-seed",
        "bt-max-peers", "bt-min-crypto-level", "bt-prioritize-piece", "bt-remove-unselected-file",
        "bt-request-peer-speed-limit", "bt-require-crypto", "bt-stop-timeout", "bt-tracker",
        "bt-tracker-connect-timeout", "bt-tracker-interval", "bt-tracker-timeout", "enable-peer-exchange",
        "metalink-enable-unique-protocol", "metalink-language", "metalink-location", "metalink-os",
        "metalink-preferred-protocol", "metalink-version", "seed-ratio", "seed-time", "select-file",
        # integrity
        "check-integrity", "realtime-chunk-checksum",
    }
)  # fmt: skip

_ENGINE = "it belongs to the whole engine of a node."
_PATH = "it names a file on the node."
_OURS = "the cluster sets it itself, so that a download can resume and move safely."

REFUSED: dict[str, str] = {
    "checksum": "give it as the field checksum.",
    "gid": "the id of the task is its GID.",
    "index-out": "it names paths; not supported yet.",
    "pause": "pause the task itself.",
    "allow-overwrite": _OURS,
    "allow-piece-length-change": _OURS,
    "always-resume": _OURS,
    "auto-file-renaming": _OURS,
    "continue": _OURS,
    "file-allocation": _OURS,
    "follow-metalink": _OURS,
    "follow-torrent": _OURS,
    "piece-length": _OURS,
    "dry-run": _OURS,
    "ca-certificate": _PATH,
    "certificate": _PATH,
    "conf-path": _PATH,
    "input-file": _PATH,
    "load-cookies": _PATH,
    "log": _PATH,
    "netrc-path": _PATH,
    "private-key": _PATH,
    "save-cookies": _PATH,
    "save-session": _PATH,
    "server-stat-if": _PATH,
    "server-stat-of": _PATH,
    "enable-rpc": _ENGINE,
    "interface": _ENGINE,
    "max-concurrent-downloads": _ENGINE,
    "max-overall-download-limit": _ENGINE,
    "max-overall-upload-limit": _ENGINE,
    "on-bt-download-complete": "it runs a program on the node.",
    "on-download-complete": "it runs a program on the node.",
    "on-download-error": "it runs a program on the node.",
    "on-download-pause": "it runs a program on the node.",
    "on-download-start": "it runs a program on the node.",
    "on-download-stop": "it runs a program on the node.",
    "rpc-listen-port": _ENGINE,
    "rpc-save-upload-metadata": _ENGINE,
    "rpc-secret": _ENGINE,
}
"""Options that people try, with the reason in the answer."""
