"""Certificates and names. Never HTTP, never Kubernetes.

Life of a connection here: `client_hello` reads the first bytes and says who is asked for, `store`
chooses certificates and policy by that name, `contexts` has the context for them. The handshake
itself is the event loop's.

    names         host names, and which certificate name covers which host       pure
    policy        what a handshake must fulfil, for servers and for upstreams    data
    certificate   a certificate chain with its key                               data
    faults        what can be wrong with one                                     data
    store         name → certificates and policy                                 pure
    client_hello  first bytes → name, ALPN, versions | more | not TLS | refused  pure
    tickets       one secret → the session ticket keys of each context           pure
    openssl       what Python's ssl does not let us set; a test whether we may   ctypes
    contexts      certificates and policy → server context                       ssl
    upstream      profile → client context, sessions resumed                     ssl
    pem           PEM → certificate with key, or a reason                        cryptography
    default       self-signed certificate of last resort; a local authority      cryptography

Only the control process loads the files that need cryptography; a worker never does.
"""
