#include "fcgi/server.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "shared/log.h"

namespace inferpool::fcgi {
namespace {

// An eventfd that stays readable once raised: every poller sees it.
class Flag {
 public:
  void Raise() {
    raised_ = true;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof(one));
  }
  bool raised() const { return raised_; }
  int fd() const { return fd_.get(); }

 private:
  std::atomic<bool> raised_ = false;
  FileDescriptor fd_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

// What a thread waits on: the shared listener, woken one thread at a time, and the stop flag.
class AcceptQueue {
 public:
  AcceptQueue(int listener, const Flag& stop) : listener_(listener), stop_(stop) {
    Watch(listener, EPOLLIN | EPOLLEXCLUSIVE);
    Watch(stop.fd(), EPOLLIN);
  }

  // The next connection; none once the stop flag is up.
  FileDescriptor Next() {
    while (!stop_.raised()) {
      std::array<epoll_event, 2> events{};
      const int count = epoll_wait(epoll_.get(), events.data(), 2, -1);
      if (count <= 0) continue;
      // A connection that came while this thread waited is taken even if the stop came with it: its
      // one wake-up was ours, so no other worker has heard of it.
      if (events[0].data.fd != listener_ && events[1].data.fd != listener_) continue;
      FileDescriptor connection(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
      if (connection) return connection;
      // EAGAIN: another thread was faster. Out of descriptors or memory: others have to finish
      // first; without the pause this loop would spin.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log::Error("cannot accept", {{"errno", errno}});
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    }
    return {};
  }

 private:
  void Watch(int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  FileDescriptor epoll_{epoll_create1(EPOLL_CLOEXEC)};
  int listener_;
  const Flag& stop_;
};

// Ends a lane's in-work mark on every path.
class Busy {
 public:
  explicit Busy(Lane& lane) : lane_(lane) { lane_.busy.store(1, std::memory_order_relaxed); }
  ~Busy() { lane_.busy.store(0, std::memory_order_relaxed); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  Lane& lane_;
};

void ServeOne(FileDescriptor socket, const ServeOptions& options, const Handler& handler,
              Lane& lane) {
  const Busy busy(lane);
  Connection connection(std::move(socket), options.limits);
  absl::StatusOr<Request> request = connection.Read();
  if (!request.ok()) {
    log::Debug("connection without a request", {{"reason", Message(request.status())}});
    return;
  }
  const Response response = handler(*request, lane);
  connection.Write(response);
}

// SIGTERM as a descriptor.
FileDescriptor TermSignal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  return FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

void Serve(int listener, const ServeOptions& options, const Handler& handler, Slot& slot,
           std::span<Lane> lanes) {
  Flag stop;
  Flag quota_used;
  std::atomic<std::uint64_t> served = 0;
  std::vector<std::jthread> threads;
  for (Lane& lane : lanes) {
    threads.emplace_back([&, queue = AcceptQueue(listener, stop)]() mutable {
      while (FileDescriptor socket = queue.Next()) {
        ServeOne(std::move(socket), options, handler, lane);
        if (served.fetch_add(1, std::memory_order_relaxed) + 1 == options.requests) {
          quota_used.Raise();
        }
      }
    });
  }
  slot.state.store(WorkerState::kReady, std::memory_order_relaxed);
  log::Info("worker ready", {{"threads", threads.size()}});

  const FileDescriptor term = TermSignal();
  std::array<pollfd, 2> events = {{{.fd = term.get(), .events = POLLIN, .revents = 0},
                                   {.fd = quota_used.fd(), .events = POLLIN, .revents = 0}}};
  while (poll(events.data(), events.size(), -1) < 0 && errno == EINTR) {
  }
  slot.state.store(WorkerState::kDraining, std::memory_order_relaxed);
  stop.Raise();
  threads.clear();  // joins
  log::Info("worker drained",
            {{"served", served.load()}, {"recycled", (events[1].revents & POLLIN) != 0}});
}

}  // namespace inferpool::fcgi
