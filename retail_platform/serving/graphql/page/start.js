"use strict";

// Starts GraphiQL with the query of ?query=…&variables=…, or with the one of default.graphql.
async function start() {
  const given = new URLSearchParams(location.search);
  const example = await (await fetch("/api/graphql/assets/default.graphql")).text();
  const tab = given.has("query")
    ? { query: given.get("query"), variables: given.get("variables") || "" }
    : { query: example, variables: JSON.stringify({ granularity: "MONTHLY" }, null, 2) };
  ReactDOM.createRoot(document.getElementById("graphiql")).render(
    React.createElement(GraphiQL, {
      fetcher: GraphiQL.createFetcher({ url: "/api/graphql" }),
      defaultTabs: [tab],
      defaultEditorToolsVisibility: "variables",
      plugins: [GraphiQLPluginExplorer.explorerPlugin()],
    }),
  );
}

start();
