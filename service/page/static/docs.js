// Swagger UI over this service's own document; nothing is fetched from elsewhere.

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // its validator is another host
});
