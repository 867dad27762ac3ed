// The KServe v2 protocol over HTTP, for clients of Triton and of the OpenVINO Model Server. Each
// request becomes a call to a model server over gRPC, and the call's answer is translated back.
#pragma once

#include "worker/http/exchange.h"

namespace inferpool::kserve_http {

// Answers a request whose path is the protocol's (IsProtocolPath in route.h). Thread safe.
//
// Errors are those of the protocol (http::ProtocolError): what the model server says has the status
// that Triton's HTTP front end has for that gRPC code, and 499, 503 and 504 say that the client
// left, that no server can take the request, and that its time is over. Input that crashed a worker
// is a problem as under /v1.
fcgi::Response Handle(http::Exchange& exchange, const http::Services& services);

}  // namespace inferpool::kserve_http
