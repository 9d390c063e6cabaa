"use strict";

// Starts GraphiQL: with ?query=…&variables=…, else with what was there the last time, else with default.graphql.
async function start() {
  const given = new URLSearchParams(location.search);
  const shown = {};
  if (given.has("query")) {
    shown.query = given.get("query");
    shown.variables = given.get("variables") || "";
  } else if (localStorage.getItem("graphiql:tabState") === null) {
    shown.query = await (await fetch("/api/graphql/assets/default.graphql")).text();
    shown.variables = JSON.stringify({ granularity: "MONTHLY" }, null, 2);
  }
  ReactDOM.createRoot(document.getElementById("graphiql")).render(
    React.createElement(GraphiQL, {
      ...shown,
      fetcher: GraphiQL.createFetcher({ url: "/api/graphql" }),
      defaultEditorToolsVisibility: "variables",
      plugins: [GraphiQLPluginExplorer.explorerPlugin()],
    }),
  );
}

start();
