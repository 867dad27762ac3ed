#include "fcgi/serving/server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <exception>
#include <functional>
#include <latch>
#include <thread>
#include <utility>
#include <vector>

#include "fcgi/serving/crash_handler.h"
#include "fcgi/serving/crash_scope.h"
#include "fcgi/serving/departure_watch.h"
#include "shared/base/log.h"
#include "shared/base/termination.h"

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

// One thread is woken for a connection. When that one cannot run, because its process was stopped
// or killed at that moment, the connection waits until somebody looks: so everybody does, now and
// then.
constexpr int kLookAgainMs = 500;

// What a thread waits on: the shared listener, woken one thread at a time, and the stop flag.
class AcceptQueue {
 public:
  AcceptQueue(int listener, const Flag& stop, const Pool& pool)
      : listener_(listener), stop_(stop), pool_(pool) {
    Watch(listener, EPOLLIN | EPOLLEXCLUSIVE);
    Watch(stop.fd(), EPOLLIN);
  }

  // The next connection; none once the stop flag is up and, when the whole pool stops, the backlog
  // is empty: there is nobody else to take what is in it.
  FileDescriptor Next() {
    bool look = !stop_.raised();
    while (true) {
      // Looked at before it is waited on: under load that saves the wait, and connections that
      // nobody was woken for are taken one after the other.
      if (look) {
        FileDescriptor connection(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
        if (connection) return connection;
        PauseIfExhausted(errno);
      }
      if (stop_.raised()) break;
      std::array<epoll_event, 2> events{};
      const int count = epoll_wait(epoll_.get(), events.data(), 2, kLookAgainMs);
      // A connection that came while this thread waited is taken even if the stop came with it: its
      // one wake-up was ours, so no other worker has heard of it.
      look = count == 0 || events[0].data.fd == listener_ || events[1].data.fd == listener_;
    }
    if (pool_.stopping == 0) return {};
    return FileDescriptor(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
  }

 private:
  // Out of descriptors or memory: others have to finish first; without the pause we would spin.
  static void PauseIfExhausted(int error) {
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) return;
    log::Error("cannot accept", {{"errno", error}});
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  void Watch(int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  FileDescriptor epoll_{epoll_create1(EPOLL_CLOEXEC)};
  int listener_;
  const Flag& stop_;
  const Pool& pool_;
};

// Ends a thread slot's in-work mark, and what its request has claimed, on every path.
class Busy {
 public:
  Busy(ThreadSlot& thread_slot, const HeavyWork& heavy) : thread_slot_(thread_slot), heavy_(heavy) {
    thread_slot_.Begin(Clock::now());
  }
  ~Busy() {
    heavy_.Leave(thread_slot_);
    thread_slot_.End();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  ThreadSlot& thread_slot_;
  const HeavyWork& heavy_;
};

class Worker {
 public:
  Worker(int listener, const ReadLimits& limits, const Handler& handler,
         const WorkerContext& context)
      : listener_(listener),
        limits_(limits),
        handler_(handler),
        context_(context),
        watch_(context.thread_slots.size()) {}

  void Run() {
    std::vector<std::jthread> threads;
    StartThreads(threads);
    log::Info("worker ready", {{"threads", threads.size()}});
    SetState(ProcessState::kReady);
    // Not before: a request that crashes us would make us one that did not come up.
    may_serve_.count_down();
    AwaitTermination();
    SetState(ProcessState::kDraining);
    stop_.Raise();
    threads.clear();  // joins
    log::Info("worker drained", {{"served", served_.load()}});
  }

 private:
  void StartThreads(std::vector<std::jthread>& threads) {
    try {
      for (std::size_t thread_slot = 0; thread_slot < context_.thread_slots.size(); ++thread_slot) {
        threads.emplace_back(
            [this, thread_slot, queue = AcceptQueue(listener_, stop_, context_.pool)]() mutable {
              const ThreadCrashScope owner(context_.thread_slots[thread_slot]);
              may_serve_.wait();
              while (FileDescriptor socket = queue.Next()) {
                if (const auto sent = ServeOne(std::move(socket), thread_slot)) sent();
                AskForReplacement();
              }
            });
      }
    } catch (const std::exception&) {  // no memory for a thread: those that are there shall end
      stop_.Raise();
      may_serve_.count_down();
      throw;
    }
  }

  void SetState(ProcessState state) {
    context_.slot.process.state.store(state, std::memory_order_release);
    context_.wakeup.Wake();
  }

  // Returns what is to be done once the answer was sent, if anything.
  std::function<void()> ServeOne(FileDescriptor socket, std::size_t index) {
    ThreadSlot& thread_slot = context_.thread_slots[index];
    const Busy busy(thread_slot, context_.heavy);
    Connection connection(std::move(socket), limits_);
    absl::StatusOr<Request> request = connection.ReadHead();
    if (request.ok()) {
      connection.ReadBody(*request,
                          context_.heavy.ClaimBody(thread_slot, HeavyClient(request->client),
                                                   connection.BodyBytes(*request)));
    }
    if (!request.ok()) {
      if (absl::IsCancelled(request.status())) thread_slot.CountStatus(kClientLeft);
      log::Debug("connection without a request", {{"reason", Message(request.status())}});
      return {};
    }
    request->departed = watch_.Begin(index, connection.socket());
    Response response = handler_(*request, thread_slot);
    watch_.End(index, connection.socket());
    connection.Write(response);
    return std::move(response.sent);
  }

  void AskForReplacement() {
    const std::uint64_t served = served_.fetch_add(1, std::memory_order_relaxed) + 1;
    const std::uint64_t quota = context_.slot.quota.load(std::memory_order_relaxed);
    if (quota == 0 || served < quota) return;
    if (context_.slot.due.exchange(1, std::memory_order_relaxed) == 0) context_.wakeup.Wake();
  }

  const int listener_;
  const ReadLimits limits_;
  const Handler& handler_;
  const WorkerContext context_;
  DepartureWatch watch_;
  std::latch may_serve_{1};
  Flag stop_;
  std::atomic<std::uint64_t> served_ = 0;
};

}  // namespace

void Serve(int listener, const ReadLimits& limits, const Handler& handler,
           const WorkerContext& context) {
  Worker(listener, limits, handler, context).Run();
}

}  // namespace inferpool::fcgi
