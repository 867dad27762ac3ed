#include "ops/cli/nginx_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "shared/base/processors.h"
#include "shared/config/config.h"
#include "tests/unit/ops/cli/nginx_reader.h"
#include "worker/http/request_id.h"

namespace inferpool::ops {
namespace {

using test::Directive;
using test::Example;
using test::Host;
using test::Reader;

TEST(NginxConfigTest, NoPlaceholderIsLeft) {
  for (const int rate : {0, 1'000}) {
    Config config = Example();
    config.nginx.rate_per_s = rate;
    config.nginx.key_rate_per_s = rate;
    for (const char* user : {"", "www-data"}) {
      const std::string text = NginxConfig(config, {.user = user});
      EXPECT_FALSE(std::regex_search(text, std::regex("^[^#\n]*@[?/]?[A-Z0-9_]*@"))) << text;
      EXPECT_NE(text.find("http {"), std::string::npos);
    }
  }
}

TEST(NginxConfigTest, EveryPlaceholderOfTheTemplateHasAValueAndTheOtherWayRound) {
  // What the header promises is one value each; a misspelt one would abort.
  std::set<std::string> names;
  const std::string text(kNginxTemplate);
  const std::regex placeholder("@[?/]?([^@]*)@");
  for (std::sregex_iterator it(text.begin(), text.end(), placeholder), end; it != end; ++it) {
    if ((*it)[1].length() > 0) names.insert((*it)[1]);  // two at signs are one
  }
  EXPECT_EQ(std::ranges::count(text, '@') % 2, 0);
  for (const std::string& name : names) {
    EXPECT_TRUE(std::regex_match(name, std::regex("[A-Z_][A-Z0-9_]+"))) << name;
  }
  EXPECT_GE(names.size(), 10U);
}

TEST(NginxConfigTest, EveryValueOfTheConfigurationLandsInItsPlace) {
  Config config = Example();
  config.listen.socket = "/some/where/pool.sock";
  config.sidecar = {.address = "127.0.0.9", .port = 9191};
  config.limits.body_mb = 77;
  config.timeouts.request_s = 41;
  config.timeouts.io_s = 13;
  config.nginx = {.port = 1443,
                  .http_port = 1080,
                  .https_port = 2443,
                  .ipv6 = "on",
                  .temporary_files = "auto",
                  .server_name = "pool.example.org",
                  .certificate = "/c/cert.pem",
                  .certificate_key = "/c/key.pem",
                  .hsts_s = 789,
                  .ocsp_stapling = true,
                  .resolvers = {"10.0.0.53", "[::1]:5353"},
                  .trusted_proxies = {"10.0.0.0/8", "fd00::/8"},
                  .proxy_protocol = false,
                  .base_path = "/vision",
                  .rate_per_s = 123,
                  .burst = 456,
                  .key_rate_per_s = 12,
                  .key_burst = 34,
                  .connections = 56,
                  .client_timeout_s = 7,
                  .metrics_allow = {"192.0.2.0/24"},
                  .pools = {},
                  .sidecars = {},
                  .pages = "/p/pages",
                  .swagger_ui = "/p/swagger"};
  const std::string text = NginxConfig(config, {.user = "www-data", .descriptors = 1'000});
  const Reader reader(text);

  EXPECT_EQ(reader.One("", "user"), "www-data");
  EXPECT_EQ(reader.One("", "worker_rlimit_nofile"), "1000");
  EXPECT_EQ(reader.One("events", "worker_connections"), "800");
  EXPECT_EQ(reader.One("http", "client_max_body_size"), "77m");
  for (const char* route : {"^(/v1)?/predict/|^/v1/analyze$", "^/v2/models/.+/infer$"}) {
    EXPECT_EQ(reader.One(std::string("http/server/location //location ~ ") + route,
                         "client_max_body_size"),
              "77m");
  }
  EXPECT_EQ(reader.All("http/upstream workers", "server"),
            (std::vector<std::string>(8, "unix:/some/where/pool.sock max_fails=0")));
  EXPECT_EQ(reader.One("http/upstream sidecar", "server"), "127.0.0.9:9191 max_fails=0");
  const auto listen = reader.All("http/server", "listen");
  ASSERT_EQ(listen.size(), 4U);
  EXPECT_TRUE(listen[0].starts_with("1443 ssl http2")) << listen[0];
  EXPECT_TRUE(listen[1].starts_with("1080")) << listen[1];
  EXPECT_TRUE(listen[2].starts_with("[::]:1443 ssl http2")) << listen[2];
  EXPECT_TRUE(listen[3].starts_with("[::]:1080")) << listen[3];
  EXPECT_EQ(reader.One("http/server", "server_name"), "pool.example.org");
  EXPECT_EQ(reader.One("http/server", "ssl_certificate"), "/c/cert.pem");
  EXPECT_EQ(reader.One("http/server", "ssl_certificate_key"), "/c/key.pem");
  EXPECT_EQ(reader.All("http", "limit_req_zone"),
            (std::vector<std::string>{"$prober zone=prober:10m rate=10r/s",
                                      "$client zone=client:10m rate=123r/s",
                                      "$key zone=key:10m rate=12r/s"}));
  EXPECT_EQ(
      reader.All("http/server/location /", "limit_req"),
      (std::vector<std::string>{"zone=client burst=456 nodelay", "zone=key burst=34 nodelay"}));
  EXPECT_EQ(reader.One("http/server/location /", "limit_conn"), "connections 56");
  for (const char* name : {"client_header_timeout", "client_body_timeout", "send_timeout"}) {
    EXPECT_EQ(reader.One("http", name), "7s");
  }
  EXPECT_EQ(reader.One("http/map $is_tls $hsts", "1"), "max-age=789");
  EXPECT_EQ(reader.One("http/server", "ssl_stapling"), "on");
  EXPECT_EQ(reader.One("http/server", "resolver"), "10.0.0.53 [::1]:5353 valid=300s");
  EXPECT_EQ(reader.All("http", "set_real_ip_from"),
            (std::vector<std::string>{"10.0.0.0/8", "fd00::/8"}));
  EXPECT_EQ(reader.One("http/geo $realip_remote_addr $is_proxy", "10.0.0.0/8"), "1");
  EXPECT_EQ(reader.All("http/server/location = /metrics", "allow"),
            (std::vector<std::string>{"192.0.2.0/24"}));
  EXPECT_EQ(reader.One("http/server/location /", "root"), "/p/pages");
  EXPECT_NE(text.find("\"/p/swagger/$file\""), std::string::npos);
  EXPECT_EQ(reader.One("http/server", "fastcgi_send_timeout"), "13s");
  const std::string read = reader.One("http/server", "fastcgi_read_timeout");
  EXPECT_GT(std::stoi(read), 41) << "the worker's own 504 comes first";
  EXPECT_NE(text.find("https://$host:2443/vision$target"), std::string::npos);
  EXPECT_EQ(reader.One("http/server/location //location = /v1/limits", "set"),
            "$edge_limits 123 456 56");
  EXPECT_NE(text.find("\"77 MB\""), std::string::npos);
}

TEST(NginxConfigTest, TheUserIsNamedOnlyWhenThereIsOne) {
  const std::string text = NginxConfig(Example(), Host());
  EXPECT_TRUE(Reader(text).All("", "user").empty());
}

TEST(NginxConfigTest, Ipv6IsListenedOnWhereItIsWantedAndCanBe) {
  struct Case {
    const char* setting;
    bool host;
    std::size_t sockets;
  };
  for (const Case& c : {Case{"auto", false, 2}, Case{"auto", true, 4}, Case{"on", false, 4},
                        Case{"off", true, 2}}) {
    Config config = Example();
    config.nginx.ipv6 = c.setting;
    const std::string text = NginxConfig(config, {.user = "", .has_ipv6 = c.host});
    EXPECT_EQ(Reader(text).All("http/server", "listen").size(), c.sockets) << c.setting << c.host;
  }
}

// Neither more descriptors than we can promise, nor more than anybody needs.
TEST(NginxConfigTest, DescriptorsAreThoseOfTheHostWithinReason) {
  for (const auto& [most, wanted] : {std::pair(1'024UL, "1024"), std::pair(1UL << 40, "40000")}) {
    NginxHost host = Host();
    host.descriptors = most;
    const std::string text = NginxConfig(Example(), host);
    EXPECT_EQ(Reader(text).One("", "worker_rlimit_nofile"), wanted);
  }
}

TEST(NginxConfigTest, ItsWorkersRunAsTheUserThatIsSetWhenRootStartsIt) {
  Config config = Example();
  config.user = "nobody";
  EXPECT_EQ(ThisHost(config).user, geteuid() == 0 ? "nobody nogroup" : "");
  config.group = "daemon";
  EXPECT_EQ(ThisHost(config).user, geteuid() == 0 ? "nobody daemon" : "");
  EXPECT_EQ(ThisHost(Example()).user, geteuid() == 0 ? "root root" : "");
}

TEST(NginxConfigTest, NginxStartsAWorkerPerProcessorThatItMayUse) {
  NginxHost host = Host();
  host.processors = 3;
  EXPECT_TRUE(NginxConfig(Example(), host).find("worker_processes 3;") != std::string::npos);
  EXPECT_EQ(ThisHost({}).processors, UsableProcessors());
}

TEST(NginxConfigTest, ThisHostHasDescriptors) {
  EXPECT_GE(ThisHost({}).descriptors, 256U);
}

TEST(NginxConfigTest, OriginsAreEchoedAndEveryOtherOneIsNot) {
  Config config = Example();
  config.cors.origins = {"https://a.example", "http://localhost:3000"};
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  const std::string place = "http/map $http_origin $cors_origin";
  EXPECT_EQ(reader.One(place, "default"), "");
  EXPECT_EQ(reader.One(place, "https://a.example"), "$http_origin");
  EXPECT_EQ(reader.One(place, "http://localhost:3000"), "$http_origin");
  const auto headers = reader.All("http/server", "add_header");
  EXPECT_NE(std::ranges::find(headers, "Vary Origin always"), headers.end());
}

TEST(NginxConfigTest, AWildcardIsARegularExpression) {
  Config config = Example();
  config.cors.origins = {"https://*.example.org", "http://localhost:3000"};
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  const std::string place = "http/map $http_origin $cors_origin";
  EXPECT_EQ(reader.One(place, R"(~^https://([a-z0-9_-]+\.)+example\.org$)"), "$http_origin");
  EXPECT_EQ(reader.One(place, "http://localhost:3000"), "$http_origin");
}

TEST(NginxConfigTest, HeadersOfOtherOriginsAreOursAndThoseThatAreSet) {
  Config config = Example();
  const auto allowed = [&] {
    return Reader(NginxConfig(config, Host())).One("http/map $is_preflight $cors_headers", "1");
  };
  const std::string ours =
      "Authorization, Content-Encoding, Content-Type, X-API-Key, X-Priority, X-Request-ID, "
      "X-Timeout-Ms, Last-Event-ID, traceparent, tracestate, Inference-Header-Content-Length";
  EXPECT_EQ(allowed(), ours + ", baggage, sentry-trace, X-Requested-With, Cache-Control, Pragma");
  config.cors.headers = {"X-Own"};
  EXPECT_EQ(allowed(), ours + ", X-Own");
  config.cors.headers = {};
  EXPECT_EQ(allowed(), ours);
}

TEST(NginxConfigTest, WithTheProxyProtocolItSaysWhoTheClientIs) {
  Config config = Example();
  config.nginx.trusted_proxies = {"10.0.0.0/8"};
  for (const bool on : {false, true}) {
    config.nginx.proxy_protocol = on;
    const std::string text =
        NginxConfig(config, {.user = "", .has_ipv6 = true, .descriptors = 1'000});
    const Reader reader(text);
    for (const std::string& listen : reader.All("http/server", "listen")) {
      EXPECT_EQ(listen.find(" proxy_protocol ") != std::string::npos, on) << listen;
    }
    EXPECT_EQ(reader.One("http", "real_ip_header"), on ? "proxy_protocol" : "X-Forwarded-For");
    // Its peers need not know HTTP, so the client's own X-Forwarded-Proto may have come through.
    EXPECT_EQ(reader.All("http/geo $realip_remote_addr $is_proxy", "10.0.0.0/8").size(),
              on ? 0U : 1U);
    EXPECT_EQ(reader.All("http/geo $is_ours", "10.0.0.0/8").size(), 1U);
  }
}

TEST(NginxConfigTest, ABasePathIsWhereClientsFindUs) {
  Config config = Example();
  EXPECT_TRUE(Reader(NginxConfig(config, Host())).All("http/server", "rewrite").empty());
  config.nginx.base_path = "/vision.2";
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  EXPECT_EQ(reader.One("http/server", "rewrite"), R"(^/vision\.2(/(?!_problem$).*)$ $1)");
  EXPECT_EQ(reader.One("http/map $request_uri $target", R"(~^/vision\.2(?<below>/.*)$)"), "$below");
  EXPECT_EQ(reader.One("http/server/location //location = /docs/", "return"), "308 /vision.2/docs");
  EXPECT_EQ(reader.One("http/server/location //location = /openapi.json", "sub_filter"),
            R"("url": "/" "url": "/vision.2")");
}

TEST(NginxConfigTest, CamerasAreLookedAtWhereThereAreSome) {
  Config config = Example();
  config.streams.workers = 0;
  EXPECT_EQ(NginxConfig(config, Host()).find("/v1/cameras(/|$) {"), std::string::npos);
  config.streams.workers = 2;
  const std::string text = NginxConfig(config, Host());
  EXPECT_NE(text.find("location ~ ^/v1/cameras(/|$) {"), std::string::npos);
  EXPECT_NE(text.find("proxy_pass http://live$target;"), std::string::npos);
  EXPECT_NE(text.find("server \"unix:" + config.state + "/children/live.sock\" max_fails=0;"),
            std::string::npos);
}

TEST(NginxConfigTest, AnyOriginIsAStarWhateverElseIsNamed) {
  Config config = Example();
  config.cors.origins = {"https://a.example", "*"};
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  const std::string place = "http/map $http_origin $cors_origin";
  EXPECT_EQ(reader.One(place, "default"), "*");
  EXPECT_TRUE(reader.All(place, "https://a.example").empty());
}

TEST(NginxConfigTest, EveryPoolIsTriedWhateverHappens) {
  Config config = Example();
  config.nginx.pools = {"unix:/a/a.sock", "10.0.0.7:9000", "pool-3:9000"};
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  const auto servers = reader.All("http/upstream workers", "server");
  for (const std::string& pool : config.nginx.pools) {
    // One that is spared when it fails, and one that is there all the same.
    EXPECT_EQ(std::ranges::count(servers, pool + " max_fails=3 fail_timeout=3s"), 1);
    EXPECT_EQ(std::ranges::count(servers, pool + " max_fails=0 backup"), 3);
  }
  for (const char* place : {"http/server/location @again", "http/server/location @unreachable"}) {
    EXPECT_EQ(reader.One(place, "fastcgi_next_upstream_tries"), std::to_string(servers.size()));
  }
  // What has no worker free or no model server may be better off elsewhere.
  EXPECT_EQ(reader.One("http/server/location /", "fastcgi_next_upstream"),
            "http_503 non_idempotent");
  EXPECT_EQ(reader.One("http/server/location /", "fastcgi_next_upstream_tries"), "3");
}

TEST(NginxConfigTest, HasConnectionsHoweverFewDescriptorsThereAre) {
  for (const auto& [descriptors, connections] :
       {std::pair(10, "64"), {80, "64"}, {85, "68"}, {40'000, "32000"}, {1'000'000, "32000"}}) {
    NginxHost host = Host();
    host.descriptors = static_cast<std::uint64_t>(descriptors);
    const std::string text = NginxConfig(Example(), host);
    EXPECT_EQ(Reader(text).One("events", "worker_connections"), connections) << descriptors;
  }
}

TEST(NginxConfigTest, ATcpPoolIsAskedAtAnAddressThatCanBeAsked) {
  for (const auto& [socket, server] : {std::pair("tcp:10.0.0.7:9000", "10.0.0.7:9000"),
                                       std::pair("tcp:0.0.0.0:9000", "127.0.0.1:9000"),
                                       std::pair("tcp:[::]:9000", "[::1]:9000")}) {
    Config config = Example();
    config.listen.socket = socket;
    const std::string text = NginxConfig(config, Host());
    EXPECT_EQ(Reader(text).All("http/upstream workers", "server"),
              (std::vector<std::string>(8, std::string(server) + " max_fails=0")));
  }
}

TEST(NginxConfigTest, ProbesAskTheSidecarsOfAllPoolsAndMetricsOurOwn) {
  Config config = Example();
  EXPECT_EQ(Reader(NginxConfig(config, Host())).All("http/upstream probes", "server"),
            (std::vector<std::string>{"127.0.0.1:9090 max_fails=0"}));
  config.nginx.sidecars = {"10.0.0.7:9090", "10.0.0.8:9090"};
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  EXPECT_EQ(reader.All("http/upstream probes", "server"),
            (std::vector<std::string>{"10.0.0.7:9090 max_fails=0", "10.0.0.8:9090 max_fails=0"}));
  EXPECT_EQ(reader.One("http/server/location = /metrics", "proxy_pass"), "http://sidecar");
  EXPECT_EQ(reader.One("http/upstream sidecar", "server"), "127.0.0.1:9090 max_fails=0");
}

// nginx's add_header in a location drops all that were inherited.
TEST(NginxConfigTest, EveryHeaderIsAddedInOnePlace) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  for (const Directive& directive : reader.directives()) {
    if (directive.words[0] != "add_header") continue;
    EXPECT_EQ(directive.place, "http/server") << directive.words[1];
    EXPECT_EQ(directive.words.back(), "always") << directive.words[1];
  }
}

TEST(NginxConfigTest, ThePagesTakeNothingFromAnybodyElse) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  std::string policy;
  for (const std::string& set : reader.All("http/server", "set")) {
    if (set.starts_with("$pages_policy ")) policy = set;
  }
  for (const char* part : {"default-src 'none'", "frame-ancestors 'none'", "form-action 'none'",
                           "base-uri 'none'", "script-src 'self';"}) {
    EXPECT_NE(policy.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
}

// A path that `check` takes must reach nginx as one word.
TEST(NginxConfigTest, PathsThatTheCheckTakesReachNginxWhole) {
  for (const std::string state : {"/srv/with space", "/srv/#hash", "/srv/ä", "/srv/a~b,c=d"}) {
    const ConfigResult result = ParseConfig("{\"state\": \"" + state + "\"}", "/", {});
    if (!result.problems.empty()) continue;
    const std::string text = NginxConfig(result.config, Host());
    const Reader reader(text);
    for (const Directive& directive : reader.directives()) {
      if (directive.place == "http/upstream workers") {
        EXPECT_EQ(directive.words,
                  (std::vector<std::string>{"server", "unix:" + state + "/inferpool.sock",
                                            "max_fails=0"}));
      }
    }
    EXPECT_EQ(reader.One("http/server", "ssl_certificate"), state + "/tls/certificate.pem");
  }
}

// PITFALLS.md: no marking down, sent again though it is a POST; and marked as such.
TEST(NginxConfigTest, ARequestWhoseWorkerDiedIsSentAgain) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  EXPECT_EQ(reader.One("http/server/location /", "fastcgi_next_upstream"), "off");
  const auto pages = reader.All("http/server/location /", "error_page");
  EXPECT_NE(std::ranges::find(pages, "502 = @again"), pages.end());
  EXPECT_EQ(reader.One("http/server/location @again", "fastcgi_pass"), "workers");
  EXPECT_EQ(reader.One("http/server/location @again", "set"), "$again $was_connected");
  const std::string again = reader.One("http/server/location @again", "fastcgi_next_upstream");
  EXPECT_NE(again.find("error"), std::string::npos);
  EXPECT_NE(again.find("non_idempotent"), std::string::npos);
  // A host that does not answer is left for the next; a worker that took its time ends the tries.
  EXPECT_NE(again.find("timeout"), std::string::npos);
  EXPECT_EQ(reader.One("http/server/location @again", "fastcgi_next_upstream_timeout"),
            reader.One("http/server", "fastcgi_read_timeout"));
  EXPECT_EQ(reader.One("http/server/location @again", "fastcgi_next_upstream_tries"),
            std::to_string(reader.All("http/upstream workers", "server").size()));
  for (const char* place : {"http", "http/server", "http/server/location /"}) {
    EXPECT_TRUE(reader.All(place, "fastcgi_request_buffering").empty())
        << "on, as it is by default";
  }
}

// A location that has one directive of these kinds itself inherits none of them.
TEST(NginxConfigTest, TheLocationsOfTheWorkersKeepTheErrorsAndParametersOfTheServer) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  const auto codes = [&](const std::string& place) {
    std::set<std::string> found;
    for (const std::string& page : reader.All(place, "error_page")) {
      std::istringstream words(page);
      for (std::string word; words >> word;) {
        if (word.size() == 3 && std::isdigit(static_cast<unsigned char>(word[0]))) {
          found.insert(word);
        }
      }
    }
    return found;
  };
  std::set<std::string> expected = codes("http/server");
  EXPECT_TRUE(expected.contains("504"));
  EXPECT_EQ(expected.erase("497"), 1U) << "to HTTPS, before there is a location";
  EXPECT_EQ(codes("http/server/location /"), expected);
  EXPECT_TRUE(reader.All("http/server/location @again", "error_page").empty());
  EXPECT_TRUE(reader.All("http/server/location @unreachable", "error_page").empty());
  for (const char* place : {"http/server/location /", "http/server/location @again",
                            "http/server/location @unreachable"}) {
    EXPECT_TRUE(reader.All(place, "fastcgi_param").empty()) << place;
    EXPECT_TRUE(reader.All(place, "add_header").empty()) << place;
  }
}

TEST(NginxConfigTest, MetricsAreForTheMachineItselfOnly) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  EXPECT_EQ(reader.One("http/server/location = /metrics", "deny"), "all");
  EXPECT_EQ(reader.All("http/server/location = /metrics", "allow"),
            (std::vector<std::string>{"127.0.0.1", "::1"}));
}

TEST(NginxConfigTest, TlsIs12And13Only) {
  const std::string text = NginxConfig(Example(), Host());
  EXPECT_EQ(Reader(text).One("http/server", "ssl_protocols"), "TLSv1.2 TLSv1.3");
}

TEST(NginxConfigTest, NoAbsolutePathOfAMachineIsInTheTemplate) {
  Config config = Example();
  config.nginx.pages = "none";
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  for (const Directive& directive : reader.directives()) {
    const bool takes_path = directive.words[0].ends_with("_path") ||
                            directive.words[0].ends_with("_log") || directive.words[0] == "pid" ||
                            directive.words[0] == "include";
    EXPECT_TRUE(!takes_path || directive.words[1].front() != '/') << directive.words[0];
  }
}

// nginx and the workers must agree on which request ids are sane.
TEST(NginxConfigTest, TheRuleForRequestIdsIsTheWorkers) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  std::string rule;
  for (const Directive& directive : reader.directives()) {
    if (directive.place == "http/map $http_x_request_id $rid" && directive.words[0] != "default") {
      ASSERT_TRUE(rule.empty()) << "more than one rule";
      rule = directive.words[0];
    }
  }
  ASSERT_TRUE(rule.starts_with('~')) << rule;
  const std::regex sane(rule.substr(1), std::regex::ECMAScript);
  for (int c = 0x20; c < 0x7f; ++c) {
    const std::string id = "a" + std::string(1, static_cast<char>(c)) + "b";
    EXPECT_EQ(std::regex_search(id, sane), http::RequestId(id) == id) << id;
  }
  for (const std::size_t length : {0U, 1U, 64U, 65U}) {
    const std::string id(length, 'x');
    EXPECT_EQ(std::regex_search(id, sane), !id.empty() && http::RequestId(id) == id) << length;
  }
}

// Every parameter that a worker reads is passed, and no header of the client's besides.
TEST(NginxConfigTest, TheWorkerGetsWhatItReadsAndNothingElse) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  std::set<std::string> names;
  for (const std::string& parameter : reader.All("http/server", "fastcgi_param")) {
    names.insert(parameter.substr(0, parameter.find(' ')));
  }
  EXPECT_EQ(names,
            (std::set<std::string>{
                "REQUEST_METHOD", "REQUEST_URI", "CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR",
                "HTTP_X_REQUEST_ID", "HTTP_ACCEPT", "HTTP_AUTHORIZATION", "HTTP_X_API_KEY",
                "HTTP_X_PRIORITY", "HTTP_X_TIMEOUT_MS", "HTTP_TRACEPARENT", "HTTP_TRACESTATE",
                "HTTP_CONTENT_ENCODING", "HTTP_INFERENCE_HEADER_CONTENT_LENGTH",
                "HTTP_INFERPOOL_EDGE_LIMITS", "INFERPOOL_HANDED_OFF", "INFERPOOL_RETRY"}));
  EXPECT_EQ(reader.One("http/server", "fastcgi_pass_request_headers"), "off");
}

}  // namespace
}  // namespace inferpool::ops
