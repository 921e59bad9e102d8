"""What is learned and how; knows no DVC and no MLflow."""
