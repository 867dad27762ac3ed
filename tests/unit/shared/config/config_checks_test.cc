// What the configuration's values must be to each other, and what follows from them.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "shared/config/config.h"
#include "tests/unit/shared/config/config_parsing.h"

namespace inferpool {
namespace {

using test::Contains;
using test::HasOnly;
using test::IsGood;
using test::Parse;
using test::Print;
using test::Refuses;

TEST(ConfigChecksTest, AnEmptyStateFolderIsNotTheRootOfTheDisk) {
  const ConfigResult result = Parse(R"({"state": ""})");
  EXPECT_TRUE(!result.problems.empty() || result.config.listen.socket != "/inferpool.sock");
}

TEST(ConfigChecksTest, SocketsAndCertificateFollowTheStateFolder) {
  const ConfigResult result = Parse(R"({"state": "/var/lib/pool"})");
  ASSERT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.listen.socket, "/var/lib/pool/inferpool.sock");
  EXPECT_EQ(result.config.modelserver.listen, "unix:/var/lib/pool/modelserver.sock");
  EXPECT_EQ(result.config.backend.targets,
            std::vector<std::string>{"unix:/var/lib/pool/modelserver.sock"});
  EXPECT_EQ(result.config.nginx.certificate, "/var/lib/pool/tls/certificate.pem");
}

TEST(ConfigChecksTest, TargetsThatAreNamedWinOverTheEmbeddedServer) {
  const ConfigResult result = Parse(R"({"backend": {"targets": ["dns:triton:8001"]}})");
  ASSERT_TRUE(IsGood(result));
  EXPECT_EQ(result.config.backend.targets, std::vector<std::string>{"dns:triton:8001"});
}

TEST(ConfigChecksTest, WithoutTheEmbeddedServerATargetMustBeNamed) {
  EXPECT_TRUE(HasOnly(Parse(R"({"modelserver": {"enabled": false}})"), 0, "backend.targets",
                      "at least one"));
  EXPECT_TRUE(HasOnly(Parse("{\"modelserver\": {\"enabled\": false},\n"
                            "\"backend\": {\"targets\": []}}"),
                      2, "backend.targets", "at least one"));
  EXPECT_TRUE(
      IsGood(Parse(R"({"modelserver": {"enabled": false}, "backend": {"targets": ["unix:/a"]}})")));
}

TEST(ConfigChecksTest, AnEmptyTargetIsAProblem) {
  EXPECT_TRUE(Refuses(Parse(R"({"backend": {"targets": [""]}})"), "backend.targets"));
  EXPECT_TRUE(
      Refuses(Parse(R"({"backend": {"targets": ["ipv4:10.0.0.1:1", ""]}})"), "backend.targets"));
}

TEST(ConfigChecksTest, SeveralTargetsMayBeOfAnyKind) {
  EXPECT_TRUE(IsGood(Parse(R"({"backend": {"targets": ["dns:a:8001", "dns:b:8001"]}})")));
  EXPECT_TRUE(
      IsGood(Parse(R"({"backend": {"targets": ["unix:/a", "ipv4:10.0.0.1:1,10.0.0.2:1"]}})")));
}

TEST(ConfigChecksTest, ACertificateNeedsItsKeyAndTheOtherWayRound) {
  EXPECT_TRUE(HasOnly(Parse(R"({"nginx": {"certificate": "/c.pem"}})"), 0, "nginx.certificate_key",
                      "together"));
  EXPECT_TRUE(HasOnly(Parse(R"({"nginx": {"certificate_key": "/k.pem"}})"), 0, "nginx.certificate",
                      "together"));
}

TEST(ConfigChecksTest, PortsMustDiffer) {
  EXPECT_TRUE(HasOnly(Parse("{\"nginx\": {\"port\": 99,\n\"http_port\": 99}}"), 2,
                      "nginx.http_port", "nginx.port"));
  EXPECT_TRUE(HasOnly(Parse("{\"nginx\":\n{\"port\": 9090}}"), 2, "nginx.port", "sidecar.port"));
  EXPECT_TRUE(
      HasOnly(Parse(R"({"sidecar": {"port": 8080}})"), 0, "nginx.http_port", "sidecar.port"));
}

TEST(ConfigChecksTest, ASocketPathThatFitsNoAddressIsAProblem) {
  const std::string fits = "/" + std::string(106, 's');
  const std::string too_long = "/" + std::string(107, 's');
  EXPECT_TRUE(IsGood(Parse("{\"listen\": {\"socket\": \"" + fits + "\"}}")));
  EXPECT_TRUE(HasOnly(Parse("{\"listen\": {\n\"socket\": \"" + too_long + "\"}}"), 2,
                      "listen.socket", "107"));
  EXPECT_TRUE(IsGood(Parse("{\"modelserver\": {\"listen\": \"unix:" + fits + "\"}}")));
  EXPECT_TRUE(HasOnly(Parse("{\"modelserver\": {\n\"listen\": \"unix:" + too_long + "\"}}"), 2,
                      "modelserver.listen", "107"));
  EXPECT_TRUE(IsGood(Parse("{\"backend\": {\"targets\": [\"unix://" + fits + "\"]}}")));
  EXPECT_TRUE(HasOnly(Parse("{\"backend\": {\n\"targets\": [\"a:1\", \"unix:" + too_long + "\"]}}"),
                      2, "backend.targets", "107"));
}

TEST(ConfigChecksTest, AStateFoldersNameMayHaveWhatUrisAndShellsGiveAMeaning) {
  for (const char* name :
       {"100%", "%41b", "a%20b", "a#b", "a?b", "two words", "it's", "Z\u00fcrich", "a+b", "a&b",
        "a:b", "(a)", "[a]", "a=b", "~a", "-a", "a*b"}) {
    const ConfigResult result = Parse("{\"state\": \"/srv/" + std::string(name) + "\"}");
    EXPECT_TRUE(IsGood(result)) << name;
    EXPECT_EQ(result.config.modelserver.listen,
              "unix:/srv/" + std::string(name) + "/modelserver.sock");
  }
  for (const char* name : {"a\\\"b", "a\\\\b", "a$b", "a;b", "a{b", "a}b"}) {
    EXPECT_TRUE(Refuses(Parse("{\"state\": \"/srv/" + std::string(name) + "\"}"), "state")) << name;
  }
}

TEST(ConfigChecksTest, ASocketsPathThatGrpcWouldPartIsAProblem) {
  EXPECT_TRUE(Refuses(Parse(R"({"state": "/srv/a,b"})"), "modelserver.listen"));
  EXPECT_TRUE(HasOnly(Parse(R"({"backend": {"targets": ["unix:/srv/a,b/m.sock"]}})"), 1,
                      "backend.targets", "comma"));
  EXPECT_TRUE(IsGood(Parse(R"({"state": "/srv/a,b", "modelserver": {"listen": "unix:/srv/m"}})")));
}

TEST(ConfigChecksTest, AStateFolderTooLongForItsSocketsIsAProblem) {
  const ConfigResult result = Parse("{\"state\": \"/" + std::string(100, 'd') + "\"}");
  EXPECT_TRUE(Refuses(result, "listen.socket"));
  EXPECT_TRUE(Refuses(result, "modelserver.listen"));
  EXPECT_TRUE(Contains(Print(result.problems), "shorter state folder"));
}

TEST(ConfigChecksTest, AServerNameThatWouldEndNginxsDirectiveIsAProblem) {
  for (const char* name : {"a;b", "a{", "a}", "a b", "a'", "a$b", "a\\\\b", "a\\\"b", "#a", ""}) {
    EXPECT_TRUE(Refuses(Parse("{\"nginx\": {\"server_name\": \"" + std::string(name) + "\"}}"),
                        "nginx.server_name"))
        << name;
  }
  for (const char* name : {"_", "example.org", "*.example.org", "xn--bcher-kva.example"}) {
    EXPECT_TRUE(IsGood(Parse("{\"nginx\": {\"server_name\": \"" + std::string(name) + "\"}}")))
        << name;
  }
}

TEST(ConfigChecksTest, APathThatNginxCannotTakeIsAProblem) {
  for (const char* path : {"/a;b", "/a{", "/a}", "/a$b", "/a\\\\b", "/a\\\"b"}) {
    const std::string json = "\"" + std::string(path) + "\"";
    EXPECT_TRUE(Refuses(Parse("{\"state\": " + json + "}"), "state")) << path;
    EXPECT_TRUE(Refuses(Parse("{\"listen\": {\"socket\": " + json + "}}"), "listen.socket"))
        << path;
    const ConfigResult pair =
        Parse("{\"nginx\": {\"certificate\": " + json + ", \"certificate_key\": " + json + "}}");
    EXPECT_TRUE(Refuses(pair, "nginx.certificate")) << path;
    EXPECT_TRUE(Refuses(pair, "nginx.certificate_key")) << path;
  }
}

TEST(ConfigChecksTest, ASidecarAddressThatIsNoneIsAProblem) {
  for (const char* address : {"", "127.0.0.1; }", "256.1.1.1", "example.org", "127.0.0.1:80",
                              "[127.0.0.1]", "[::1]:9090", "::1::"}) {
    EXPECT_TRUE(Refuses(Parse("{\"sidecar\": {\"address\": \"" + std::string(address) + "\"}}"),
                        "sidecar.address"))
        << address;
  }
  EXPECT_TRUE(IsGood(Parse(R"({"sidecar": {"address": "0.0.0.0"}})")));
  EXPECT_TRUE(IsGood(Parse(R"({"sidecar": {"address": "::1"}})")));
  const ConfigResult bracketed = Parse(R"({"sidecar": {"address": "[::1]"}})");
  EXPECT_TRUE(IsGood(bracketed));
  EXPECT_EQ(bracketed.config.sidecar.address, "::1");
}

TEST(ConfigChecksTest, TheProxyProtocolIsBelievedOfSomebody) {
  EXPECT_TRUE(HasOnly(Parse("{\"nginx\":\n{\"proxy_protocol\": true}}"), 2, "nginx.proxy_protocol",
                      "nginx.trusted_proxies"));
  EXPECT_TRUE(
      IsGood(Parse(R"({"nginx": {"proxy_protocol": true, "trusted_proxies": ["10.0.0.0/8"]}})")));
}

TEST(ConfigChecksTest, ABasePathHasNoSlashAtItsEnd) {
  for (const auto& [text, path] : {std::pair("", ""),
                                   {"/", ""},
                                   {"/vision", "/vision"},
                                   {"/vision/", "/vision"},
                                   {"/a/b/", "/a/b"}}) {
    const ConfigResult result = Parse(std::string(R"({"nginx": {"base_path": ")") + text + "\"}}");
    ASSERT_TRUE(IsGood(result)) << text;
    EXPECT_EQ(result.config.nginx.base_path, path);
  }
  for (const char* text : {"vision", "//", "/a//", "/v1", "/docs/", "/a b", "/a;b", "/../a"}) {
    EXPECT_TRUE(Refuses(Parse(std::string(R"({"nginx": {"base_path": ")") + text + "\"}}"),
                        "nginx.base_path"))
        << text;
  }
}

// Each list that reaches nginx's configuration, with one item that would add to it.
TEST(ConfigChecksTest, AnItemThatNginxWouldTakeForMoreThanItIsIsAProblem) {
  for (const char* key :
       {"cors.origins", "cors.headers", "nginx.resolvers", "nginx.trusted_proxies",
        "nginx.metrics_allow", "nginx.pools", "nginx.sidecars"}) {
    for (const char* item : {"10.0.0.1; }", "10.0.0.1:80 weight=9", "https://a\\\"; #", "$host",
                             "unix:/a;b", "10.0.0.1:80{", "~.*"}) {
      const ConfigResult result = Parse("{}", {std::string(key) + "=[\"" + item + "\"]"});
      EXPECT_TRUE(Refuses(result, key)) << key << " " << item;
    }
  }
}

TEST(ConfigChecksTest, ATcpSocketIsAnAddressWithAPort) {
  for (const char* good : {"tcp:0.0.0.0:9000", "tcp:10.0.0.7:9000", "tcp:[::1]:9000"}) {
    const ConfigResult result = Parse("{}", {std::string("listen.socket=") + good});
    EXPECT_TRUE(IsGood(result)) << good;
    EXPECT_EQ(result.config.listen.socket, good) << "no path";
  }
  for (const char* bad : {"tcp:", "tcp:9000", "tcp:localhost:9000", "tcp:10.0.0.7:0",
                          "tcp:::1:9000", "tcp:10.0.0.7:9000; }"}) {
    EXPECT_TRUE(Refuses(Parse("{}", {std::string("listen.socket=") + bad}), "listen.socket"))
        << bad;
  }
}

TEST(ConfigChecksTest, PagesAreAFolderOrNone) {
  EXPECT_EQ(Parse(R"({"nginx": {"pages": "none"}})").config.nginx.pages, "none");
  EXPECT_TRUE(Parse(R"({"nginx": {"pages": "nonesuch"}})").config.nginx.pages.starts_with("/"));
  EXPECT_TRUE(Refuses(Parse(R"({"nginx": {"pages": "/a\";b"}})"), "nginx.pages"));
  EXPECT_TRUE(Refuses(Parse(R"({"nginx": {"swagger_ui": "/a$b"}})"), "nginx.swagger_ui"));
}

TEST(ConfigChecksTest, StaplingNeedsADnsServer) {
  EXPECT_TRUE(HasOnly(Parse("{\"nginx\": {\n\"ocsp_stapling\": true}}"), 2, "nginx.ocsp_stapling",
                      "nginx.resolvers"));
}

TEST(ConfigChecksTest, MoreWorkersThanTheMostIsAProblem) {
  EXPECT_TRUE(HasOnly(Parse("{\"workers\": 9,\n\"workers_max\": 8}"), 1, "workers", "workers_max"));
  EXPECT_TRUE(HasOnly(Parse("{}", {"workers=129"}), 0, "workers", "128"));
  EXPECT_TRUE(IsGood(Parse(R"({"workers": 8, "workers_max": 8})")));
}

TEST(ConfigChecksTest, AGroupWithoutAUserIsAProblem) {
  EXPECT_TRUE(HasOnly(Parse("{}", {"group=www-data"}), 0, "group", "user"));
  EXPECT_TRUE(IsGood(Parse("{}", {"user=www-data", "group=www-data"})));
  EXPECT_TRUE(IsGood(Parse("{}", {"user=www-data"})));
}

}  // namespace
}  // namespace inferpool
