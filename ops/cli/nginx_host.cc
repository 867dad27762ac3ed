#include <fmt/format.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "fcgi/pool/child.h"
#include "ops/cli/memory_folder.h"
#include "ops/cli/nginx_config.h"
#include "ops/cli/own_files.h"
#include "shared/base/descriptor_limit.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/processors.h"

namespace inferpool::ops {
namespace {

// Whom nginx's workers run as when root starts nginx, which would choose a user who may not look
// into the state folder: `user`, or us. Elsewhere nginx cannot choose and shall not be told.
std::string NginxUser(const Config& config) {
  if (geteuid() != 0) return "";
  const auto identity =
      fcgi::FindIdentity(config.user.empty() ? "root" : config.user, config.group);
  if (!identity.ok()) return "root";               // `serve` refuses to start
  const group* entry = getgrgid(identity->group);  // NOLINT(concurrency-mt-unsafe): one thread
  // Without a group nginx takes that of the user's name, which need not be there.
  return entry == nullptr ? identity->name : fmt::format("{} {}", identity->name, entry->gr_name);
}

bool CanBindIpv6() {
  const FileDescriptor probe(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  return probe && bind(probe.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(any)) == 0;
}

}  // namespace

NginxHost ThisHost(const Config& config) {
  return {.user = NginxUser(config),
          .has_ipv6 = CanBindIpv6(),
          .processors = UsableProcessors(),
          .descriptors = MaxDescriptors(),
          .temporary = TemporaryFolder(config),
          .data = DataFolder()};
}

}  // namespace inferpool::ops
