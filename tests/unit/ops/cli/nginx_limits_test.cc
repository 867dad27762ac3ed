// What the rendered configuration lets through, and where it sends those who come without TLS.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ops/cli/nginx_config.h"
#include "shared/config/config.h"
#include "tests/unit/ops/cli/nginx_reader.h"

namespace inferpool::ops {
namespace {

using test::Directive;
using test::Example;
using test::Host;
using test::Reader;

TEST(NginxLimitsTest, ProbesHaveALimitOfTheirOwn) {
  const std::string text = NginxConfig(Example(), Host());
  const Reader reader(text);
  EXPECT_EQ(reader.One("http", "limit_req_status"), "429");
  EXPECT_EQ(reader.One("http", "limit_conn_status"), "429");
  for (const std::string probe : {"/livez", "/readyz", "/metrics"}) {
    const std::string place = "http/server/location = " + probe;
    EXPECT_EQ(reader.One(place, "limit_req"), "zone=prober burst=20 nodelay") << probe;
  }
  EXPECT_TRUE(reader.All("http/server", "limit_req").empty());
  EXPECT_TRUE(reader.All("http/server", "limit_conn").empty());
  EXPECT_EQ(reader.One("http/upstream probes_of_strangers", "server"),
            "127.0.0.1:9090 max_fails=0 max_conns=64");
  EXPECT_EQ(reader.One("http/upstream probes", "server"), "127.0.0.1:9090 max_fails=0");
}

TEST(NginxLimitsTest, ProbesOfTheMachineAndOfTrustedProxiesAreNotCounted) {
  Config config = Example();
  config.nginx.trusted_proxies = {"10.0.0.0/8"};
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  EXPECT_EQ(reader.One("http/geo $is_ours", "10.0.0.0/8"), "1");
  EXPECT_EQ(reader.One("http/map $is_ours $remote_addr $prober", "~^1 "), "");
  EXPECT_EQ(reader.One("http/map $is_ours $remote_addr $prober", "default"), "$client");
}

TEST(NginxLimitsTest, ABurstOfZeroIsLeftOut) {
  Config config = Example();
  config.nginx.burst = 0;
  const std::string text = NginxConfig(config, Host());
  EXPECT_EQ(Reader(text).One("http/server/location /", "limit_req"), "zone=client nodelay");
}

TEST(NginxLimitsTest, WhatIsZeroOrEmptyIsOff) {
  Config config = Example();
  config.nginx.rate_per_s = config.nginx.connections = 0;
  config.nginx.pages = "none";
  const std::string text = NginxConfig(config, Host());
  const Reader reader(text);
  for (const Directive& directive : reader.directives()) {
    for (const char* name : {"set_real_ip_from", "real_ip_header", "ssl_stapling", "resolver",
                             "root", "alias", "try_files"}) {
      EXPECT_NE(directive.words[0], name) << directive.place;
    }
    // The probes keep theirs.
    for (const char* name : {"limit_req", "limit_conn"}) {
      if (directive.words[0] != name) continue;
      EXPECT_TRUE(directive.place.starts_with("http/server/location = /")) << directive.place;
    }
  }
  EXPECT_EQ(reader.One("http/map $is_tls $hsts", "1"), "");
  EXPECT_EQ(reader.All("http/map $http_origin $cors_origin", "default"),
            (std::vector<std::string>{""}));
  const auto headers = reader.All("http/server", "add_header");
  EXPECT_NE(std::ranges::find(headers, "Vary  always"), headers.end());
}

TEST(NginxLimitsTest, TheRedirectNamesThePortThatClientsKnow) {
  struct Case {
    int port, https_port;
    const char* address;
  };
  for (const Case& c :
       {Case{8443, 0, "https://$host:8443$target"}, Case{443, 0, "https://$host$target"},
        Case{8443, 443, "https://$host$target"}, Case{443, 9443, "https://$host:9443$target"}}) {
    Config config = Example();
    config.nginx.port = c.port;
    config.nginx.https_port = c.https_port;
    const std::string text = NginxConfig(config, Host());
    EXPECT_EQ(Reader(text).One("http/server/if ($needs_tls)", "return"),
              std::string("308 ") + c.address);
    EXPECT_EQ(Reader(text).All("http/server", "listen")[0],
              std::to_string(c.port) + " ssl http2 backlog=4096");
  }
}

}  // namespace
}  // namespace inferpool::ops
