// The master's control socket: how `inferpool reload` and its like talk to a running pool. One
// packet of JSON in, one out, on a unix socket that only the master's user may open. The master
// never waits for a client.
#pragma once

#include <json/value.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "shared/base/file_descriptor.h"
#include "shared/base/status.h"

namespace inferpool::fcgi {

// In the state folder.
std::string ControlPath(const std::string& state);

class ControlSocket {
 public:
  static absl::StatusOr<ControlSocket> Listen(const std::string& path);

  // Readable when Serve has something to do.
  int fd() const { return epoll_.get(); }

  // Answers every request that has come.
  void Serve(const std::function<Json::Value(const Json::Value&)>& handle);

 private:
  ControlSocket(FileDescriptor listener, FileDescriptor epoll)
      : listener_(std::move(listener)), epoll_(std::move(epoll)) {}

  void Accept();

  FileDescriptor listener_;
  FileDescriptor epoll_;
  std::map<int, FileDescriptor> clients_;
};

// Sends a request to the master of the pool in `state` and returns its answer. UNAVAILABLE when no
// pool runs there, DEADLINE_EXCEEDED when it does not answer (the master may be stopped).
absl::StatusOr<Json::Value> AskMaster(const std::string& state, const Json::Value& request,
                                      std::chrono::seconds patience);

}  // namespace inferpool::fcgi
