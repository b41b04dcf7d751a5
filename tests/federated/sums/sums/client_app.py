"""What Flower asks an app for; the nodes of the test are no Python."""

from flwr.clientapp import ClientApp

app = ClientApp()
