#include "ops/sidecar/listen_queue.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "shared/base/file_descriptor.h"

namespace inferpool::ops {
namespace {

struct Question {
  nlmsghdr header;
  unix_diag_req body;
};

// The queue's lengths among the attributes of an answer.
std::optional<ListenQueue> FindLengths(const nlmsghdr& header) {
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return std::nullopt;
  const auto* body = reinterpret_cast<const std::byte*>(&header) + NLMSG_LENGTH(0);
  unix_diag_msg socket{};
  std::memcpy(&socket, body, sizeof(socket));
  if (socket.udiag_state != TCP_LISTEN) return std::nullopt;
  auto left = static_cast<unsigned int>(header.nlmsg_len - NLMSG_LENGTH(sizeof(unix_diag_msg)));
  const auto* attribute =
      reinterpret_cast<const rtattr*>(body + NLMSG_ALIGN(sizeof(unix_diag_msg)));
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type != UNIX_DIAG_RQLEN) continue;
    unix_diag_rqlen lengths{};
    std::memcpy(&lengths, RTA_DATA(attribute), sizeof(lengths));
    return ListenQueue{.waiting = lengths.udiag_rqueue, .max = lengths.udiag_wqueue};
  }
  return std::nullopt;
}

}  // namespace

std::optional<ListenQueue> ReadListenQueue(std::uint64_t inode) {
  const FileDescriptor netlink(
      socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
  if (!netlink) return std::nullopt;
  Question question{};
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.body.sdiag_family = AF_UNIX;
  question.body.udiag_states = 1U << TCP_LISTEN;
  question.body.udiag_ino = static_cast<std::uint32_t>(inode);
  question.body.udiag_show = UDIAG_SHOW_RQLEN;
  question.body.udiag_cookie[0] = ~0U;
  question.body.udiag_cookie[1] = ~0U;
  if (send(netlink.get(), &question, sizeof(question), 0) < 0) return std::nullopt;
  // The kernel has answered when send returns.
  alignas(nlmsghdr) std::array<std::byte, 4096> answer{};
  const ssize_t got = recv(netlink.get(), answer.data(), answer.size(), 0);
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (got < static_cast<ssize_t>(sizeof(nlmsghdr)) ||
      !NLMSG_OK(header, static_cast<unsigned>(got))) {
    return std::nullopt;
  }
  return FindLengths(*header);
}

}  // namespace inferpool::ops
