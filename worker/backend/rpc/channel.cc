#include "worker/backend/rpc/channel.h"

#include <grpcpp/grpcpp.h>

#include <climits>
#include <cstdlib>

#include "shared/base/grpc_address.h"

namespace inferpool::backend {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, int message_mb) {
  // While a server is away calls fail at once, so no caller is there to move a new connection
  // along; gRPC then looks at it only this often (read once, when gRPC starts). The default is 5 s.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads (client.h)
  setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "50", /*overwrite=*/0);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(message_mb * 1024 * 1024);
  arguments.SetMaxSendMessageSize(message_mb * 1024 * 1024);
  // A name may stand for several addresses. Of one address, this policy also connects anew by
  // itself and says that the server is away until it is back, which the default one does not.
  arguments.SetLoadBalancingPolicyName("round_robin");
  // Otherwise channels with the same arguments share their connections (backend.channels).
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A restarted server shall be found within a second; gRPC's own defaults go up to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 250);
  // In spite of its name this is how long an attempt to connect may take: long enough for a server
  // that is busy, short enough to try a hung one again.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  // Retries are ours: gRPC's own skip large requests and know no other target.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // An idle channel would connect anew on the next request; the default is 30 minutes.
  arguments.SetInt(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX);
  // What is not set, and why:
  // Keepalive pings: a stock Triton takes one without data every 300 s for abuse. A hung server is
  // found by the health checker, which asks it (health_checker.h).
  // HTTP/2 windows, frame and write buffer sizes, the probing for bandwidth and delay: gRPC makes
  // the window as large as a message that is being read, so none of them changed the time of a
  // call of 4.9 MB by more than its noise, 5 %, on a unix socket or loopback TCP; and on a long
  // line the probing is what opens the window.
  //
  // Model servers are reached directly, never through a web proxy of the environment.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(GrpcAddress(target), grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace inferpool::backend
