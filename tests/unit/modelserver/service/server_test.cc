// Where a server listens, and how it stops.

#include "modelserver/service/server.h"

#include <grpc/grpc.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "shared/base/file_descriptor.h"
#include "shared/base/grpc_address.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::modelserver {
namespace {

// gRPC's own end can take 10 s (main.cc); not after every test.
[[maybe_unused]] const bool kInitialised = (grpc_init(), true);

class Listening : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Server>> Start(const std::string& address) {
    return Server::Start(repository_, {address});
  }
  std::string Socket() const { return "unix:" + (folder_.path() / "s").string(); }

  static bool Live(const std::string& address) {
    const auto stub = inference::GRPCInferenceService::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    inference::ServerLiveResponse response;
    return stub->ServerLive(&context, {}, &response).ok() && response.live();
  }

  Folder folder_;
  Repository repository_{folder_.path()};
};

TEST_F(Listening, OnAUnixSocketAndAPort) {
  auto server = Server::Start(repository_, {Socket(), "127.0.0.1:0"});
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_EQ((*server)->addresses().size(), 2U);
  EXPECT_EQ((*server)->addresses()[1].find("127.0.0.1:"), 0U);
  EXPECT_NE((*server)->addresses()[1], "127.0.0.1:0");
  for (const std::string& address : (*server)->addresses()) {
    EXPECT_TRUE(Live(address)) << address;
  }
  struct stat status = {};
  ASSERT_EQ(stat((folder_.path() / "s").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0660U);
}

TEST_F(Listening, OnASocketWhosePathHasWhatAUriGivesAMeaning) {
  const std::string path = (folder_.path() / "%41 b?c#d%").string();
  const auto server = Start("unix:" + path);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(std::filesystem::is_socket(path));
  EXPECT_TRUE(Live(GrpcAddress("unix:" + path)));
  EXPECT_EQ(Start("unix:" + path).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(Listening, ASocketInUseIsLeftAlone) {
  auto first = Start(Socket());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(Start(Socket()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Live(Socket()));
  auto port = Start("127.0.0.1:0");
  ASSERT_TRUE(port.ok());
  EXPECT_EQ(Start((*port)->addresses()[0]).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(Listening, AStaleSocketIsReplaced) {
  const std::string path = (folder_.path() / "s").string();
  {
    const FileDescriptor dead(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path));
  const auto server = Start(Socket());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(Live(Socket()));
}

TEST_F(Listening, WhatIsNoSocketIsLeftAlone) {
  folder_.Write("s", "precious");
  EXPECT_EQ(Start(Socket()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(folder_.path() / "s"), 8U);
}

TEST_F(Listening, AddressesThatMakeNoSenseAreErrors) {
  for (const std::string& address :
       {std::string("unix:"), std::string("foo"), std::string(":80"), std::string("host:"),
        std::string("host:http"), "unix:/" + std::string(200, 'x')}) {
    EXPECT_EQ(Start(address).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
  EXPECT_EQ(Start("unix:/nonexistent/folder/s").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(Listening, UnderTheNameItIsGiven) {
  const auto server = Server::Start(repository_, {Socket()}, {.id = "mine"});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = inference::GRPCInferenceService::NewStub(
      grpc::CreateChannel(Socket(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  inference::ServerMetadataResponse metadata;
  ASSERT_TRUE(stub->ServerMetadata(&context, {}, &metadata).ok());
  EXPECT_EQ(metadata.name(), "mine");
}

TEST_F(Listening, EndsWithTheServer) {
  auto server = Start(Socket());
  ASSERT_TRUE(server.ok());
  (*server)->Shutdown(std::chrono::seconds(1));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "s"));
  EXPECT_FALSE(Live(Socket()));
  EXPECT_TRUE(Start(Socket()).ok());
}

}  // namespace
}  // namespace inferpool::modelserver
