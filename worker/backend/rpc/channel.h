// A gRPC channel to a model server, with every argument for a reason.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace inferpool::backend {

// Connects lazily. To be called after the fork, and first before there are threads: it sets an
// environment variable for gRPC. `message_mb` bounds messages in both directions.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, int message_mb);

}  // namespace inferpool::backend
